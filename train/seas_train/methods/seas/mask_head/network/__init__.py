"""The mask head as a network."""
