"""Data sets in parts, written to a store by many at once and brought together afterwards."""
