"""BiSeNet V2 (Yu et al. 2021, arXiv 2004.02147): two branches, one for detail and one for what is shown."""
