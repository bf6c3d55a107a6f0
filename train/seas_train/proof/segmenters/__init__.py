"""The networks that pairs are tried on: each finds the defects of a photograph."""
