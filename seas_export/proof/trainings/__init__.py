"""Every training and test of a proof: estimated, run, kept, and read again."""
