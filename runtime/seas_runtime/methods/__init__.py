"""How pairs are generated: one module per method."""
