"""The methods by which a base is trained: a room each, found in one table."""
