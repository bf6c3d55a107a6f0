"""The toolkit's face: command line, configuration, ONNX export, parity and build."""
