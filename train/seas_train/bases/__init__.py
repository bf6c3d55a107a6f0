"""Bases: Stable Diffusion 1.x in diffusers' folder format or one file, and those that we make."""
