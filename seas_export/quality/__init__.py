"""What a bundle's pairs are like, measured without anyone to look at them."""
