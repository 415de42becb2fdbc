"""A trained network: its file, and what one can do with it in Python."""
