"""The small decoder that the mask head may read in place of the VAE's, and how it is trained."""
