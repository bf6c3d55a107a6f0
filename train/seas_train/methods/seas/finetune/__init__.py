"""Stage 1: the U-Net and the product's prompt tokens, under the DA and NA losses (paper section 3.2)."""
