"""What runs a graph: a room per library, each imported only when asked for."""
