"""What real defects look like, and the surface that they lie on."""
