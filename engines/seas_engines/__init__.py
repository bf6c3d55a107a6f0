"""Compiles a bundle's graphs for the machine that will run them."""
