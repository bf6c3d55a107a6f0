"""What is generated from and into, and what is taken away: bundles, photographs, pictures, downloads."""
