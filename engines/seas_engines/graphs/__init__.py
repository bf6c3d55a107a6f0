"""Every rewriting of a graph, for export and for engines."""
