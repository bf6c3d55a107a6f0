"""AnomalyDiffusion at the edge."""
