"""AnoGen's export."""
