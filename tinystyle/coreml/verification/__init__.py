"""Verifies that a Core ML file is the trained network: every weight, then the output for every photo."""
