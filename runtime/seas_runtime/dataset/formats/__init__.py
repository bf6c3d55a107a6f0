"""Converts a finished dataset to what labelling and training tools read. Needs numpy and pillow alone."""
