"""Photographs at their own size and depth: read, written without loss, and as the 8-bit RGB of a base."""
