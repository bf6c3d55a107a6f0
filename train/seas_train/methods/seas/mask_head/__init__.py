"""Predicts a pair's mask from the frozen U-Net's and VAE decoder's features, and trains what predicts it.

Paper section 3.3, Refined Mask Prediction (SeaS, arXiv 2410.14987).
"""
