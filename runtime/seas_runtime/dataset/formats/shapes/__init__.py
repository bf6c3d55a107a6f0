"""A mask as label files write it: connected regions, outlines and runs."""
