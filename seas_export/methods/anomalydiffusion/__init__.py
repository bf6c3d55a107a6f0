"""AnomalyDiffusion's export."""
