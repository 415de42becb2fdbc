"""Proves that a Core ML file is the trained network: every weight, then every photo."""
