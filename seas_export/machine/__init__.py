"""What this machine is, can run, and how fast."""
