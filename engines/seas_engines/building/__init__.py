"""Builds engines: each in a process of its own, checked before it is kept."""
