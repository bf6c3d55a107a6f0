"""A bundle's engines: a cache keyed by content."""
