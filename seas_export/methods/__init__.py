"""Each method's export: its parts, its composed graphs, its reference loop."""
