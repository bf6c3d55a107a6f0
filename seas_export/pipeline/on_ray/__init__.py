"""Products of `build --all` on the machines of a Ray cluster."""
