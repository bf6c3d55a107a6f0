"""Placed pairs: a photograph, a placement, the region around it, and the way back into the photograph."""
