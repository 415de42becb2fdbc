"""Core AI files (.aimodel): `exporter` writes them, `saved_file` reads and runs them; neither knows the other."""
