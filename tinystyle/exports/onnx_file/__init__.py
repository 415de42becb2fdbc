"""ONNX files: `exporter` writes them, `saved_file` reads and runs them; neither knows the other."""
