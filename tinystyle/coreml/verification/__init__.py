"""Verifies that a Core ML file is the trained network: every weight, then the output for every photo.

Importing this package imports neither torch nor coremltools.
"""

__all__ = ["MAX_PHOTOS"]

MAX_PHOTOS = 32
"""Number of photos, at most, that `tinystyle verify` and `tinystyle.verify` compare by default."""
