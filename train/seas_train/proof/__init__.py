"""Segmenters that are trained on real and generated pairs, to measure what the pairs are worth."""
