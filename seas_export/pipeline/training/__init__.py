"""`train`: a run, and what it will cost."""
