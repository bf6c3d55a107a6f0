"""SeaS: parts, composed graphs, reference loop."""
