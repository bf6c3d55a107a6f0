"""How the small decoder that the mask head may read in place of the VAE's is trained."""
