"""AnomalyXFusion at the edge."""
