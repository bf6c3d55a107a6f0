"""What `compare.py` runs: one contestant a process, on one task."""
