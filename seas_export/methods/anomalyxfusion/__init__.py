"""AnomalyXFusion's export."""
