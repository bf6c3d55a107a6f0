"""AnoGen at the edge."""
