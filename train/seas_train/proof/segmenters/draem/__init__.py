"""DRAEM (Zavrtanik et al. 2021, arXiv 2108.07610): draws a picture without its defect, and compares."""
