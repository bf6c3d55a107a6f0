"""Reads a bundle: hashes first, contents after; packs and signs it."""
