"""The API under /v1: who may ask, and what the answers look like."""
