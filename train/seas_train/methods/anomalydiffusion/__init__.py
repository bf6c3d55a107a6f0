"""AnomalyDiffusion (Hu et al., AAAI 2024): tokens of what a defect is and of where it lies."""
