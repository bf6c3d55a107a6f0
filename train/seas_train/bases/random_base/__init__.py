"""Bases of a known geometry with random weights: what a model costs, before one has the model."""
