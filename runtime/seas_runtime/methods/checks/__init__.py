"""What methods refuse of a bundle's tables."""
