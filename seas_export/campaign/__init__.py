"""Pairs of many products by one plan."""
