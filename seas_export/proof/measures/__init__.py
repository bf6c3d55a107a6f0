"""From maps to figures: what is counted on a photograph, and what it amounts to."""
