"""Generates pairs: request, noise, denoising loop, records."""
