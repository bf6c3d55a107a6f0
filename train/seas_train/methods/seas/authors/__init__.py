"""Checkpoints of the authors' own code (HUST-SLOW/SeaS), turned into ours."""
