"""What a bundle carries for placed pairs, and what draws placements from it."""
