"""NVIDIA's driver: devices, memory, captured graphs."""
