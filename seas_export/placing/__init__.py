"""Draws where defects would go, without generating: masks, and a sheet to look at."""
