"""Generates: one process a device, told what to do by a queue."""
