"""What a bundle's ONNX graphs may be: read by our own reader before a library sees them."""
