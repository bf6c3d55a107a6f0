"""Whether pairs make a line's own model better: segmenters with and without them, on held-out photographs."""
