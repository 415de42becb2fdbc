"""Core ML files: conversion and compression. Knows nothing of training.

Importing this package imports neither torch nor coremltools.
"""

from __future__ import annotations

__all__ = ["FORMATS", "check_format", "check_size"]

FORMATS: dict[str, tuple[int, ...]] = {
    "mlmodel": (32, 16, 8, 6, 4),
    "mlpackage": (32, 16, 8, 6, 4),
}
"""Format -> bits per convolution weight that it can hold. Formats are named by their file's suffix."""

MIN_SIDE, MAX_SIDE = 16, 4096
"""Pixels, of an exported image. A smaller one the networks would pad; a larger one takes gigabytes to trace."""


def check_format(format: str, bits: int) -> None:
    """Raise ValueError that lists what is possible, unless `format` can hold weights of `bits` bits."""
    if bits not in FORMATS.get(format, ()):
        allowed = "; ".join(f"{name} with {', '.join(map(str, choices))} bits" for name, choices in FORMATS.items())
        raise ValueError(f"there is no {format} with {bits} bits; choose from: {allowed}")


def check_size(width: int, height: int, stride: int) -> None:
    """Raise ValueError that names the nearest possible size, unless both sides are multiples of `stride`, in range."""
    nearest = [_nearest(side, stride) for side in (width, height)]
    if nearest != [width, height]:
        raise ValueError(
            f"the size {width}x{height} is not possible: both sides must be multiples of {stride} "
            f"from {MIN_SIDE} to {MAX_SIDE}; the nearest is {nearest[0]}x{nearest[1]}"
        )


def _nearest(side: int, stride: int) -> int:
    lowest, highest = -(-MIN_SIDE // stride), MAX_SIDE // stride
    return stride * min(max((2 * side + stride) // (2 * stride), lowest), highest)
