"""Writes a dataset: MVTec AD layout, records, contact sheet."""
