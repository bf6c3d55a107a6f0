"""Diffusion models in training: encoded examples and prompts, the sampler, U-Net and decoder features."""
