"""Says what a bundle is and what changed between two; signs them."""
