"""Core ML files: conversion and compression. Knows nothing of training.

Importing this package imports neither torch nor coremltools.
"""

from __future__ import annotations

from tinystyle.errors import UserError

__all__ = ["FORMATS", "IOS", "VARIANTS", "check_compute", "check_format", "check_size"]

FORMATS: dict[str, tuple[int, ...]] = {
    "mlmodel": (32, 16, 8, 6, 4),
    "mlpackage": (32, 16, 8, 6, 4),
}
"""Format -> bits per convolution weight that it can hold. Formats are named by their file's suffix."""

IOS = (16, 18)
"""The oldest iOS that a file can be asked for; see `VARIANTS` for which go together."""

VARIANTS = (*((name, bits, 16) for name, choices in FORMATS.items() for bits in choices), ("mlpackage", 4, 18))
"""(format, bits, iOS) of every file that can be written. iOS 18 adds int4; all else runs there too."""

MIN_SIDE, MAX_SIDE = 20, 4096
"""Pixels, of an exported image. A smaller one the networks would pad; a larger one takes gigabytes to run."""


def check_format(format: str, bits: int, ios: int = 16) -> None:
    """Raise ValueError that lists what is possible, unless `format` can hold weights of `bits` bits for that iOS."""
    if (format, bits, ios) in VARIANTS:
        return
    allowed = [f"{name} with {', '.join(map(str, choices))} bits" for name, choices in FORMATS.items()]
    raise UserError(
        f"there is no {format} with {bits} bits for iOS {ios}; choose from: {'; '.join(allowed)}; "
        "mlpackage with 4 bits for iOS 18 (all others are for iOS 16, and run on later ones)"
    )


def check_compute(format: str, bits: int, compute: str | None) -> str | None:
    """What a file computes in: "float16", "float32", or None where the device decides. `compute` None: the usual.

    Raises:
        ValueError: it cannot compute in that.
    """
    if compute not in (None, "float16", "float32"):
        raise UserError(f"a file cannot compute in {compute}; choose float16 or float32")
    if format == "mlmodel":
        if compute:
            raise UserError(f"an .mlmodel leaves precision to the device; leave {compute} out, or write an .mlpackage")
        return None
    if (bits, compute) == (32, "float16"):
        raise UserError("an .mlpackage of 32 bits computes in float32; choose 16 bits or fewer for float16")
    return compute or ("float32" if bits == 32 else "float16")


def check_size(width: int, height: int, stride: int) -> None:
    """Raise ValueError that names the nearest possible size, unless both sides are multiples of `stride`, in range."""
    nearest = [_nearest(side, stride) for side in (width, height)]
    if nearest != [width, height]:
        raise UserError(
            f"the size {width}x{height} is not possible: both sides must be multiples of {stride} "
            f"from {MIN_SIDE} to {MAX_SIDE}; the nearest is {nearest[0]}x{nearest[1]}"
        )


def _nearest(side: int, stride: int) -> int:
    lowest, highest = -(-MIN_SIDE // stride), MAX_SIDE // stride
    return stride * min(max((2 * side + stride) // (2 * stride), lowest), highest)
