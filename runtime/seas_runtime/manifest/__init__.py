"""What a bundle says about itself, checked strictly."""
