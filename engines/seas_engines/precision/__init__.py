"""Which nodes half precision suits: measured on each model."""
