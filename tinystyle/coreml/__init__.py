"""Core ML files: conversion and compression. Does not depend on training.

Importing this package imports neither torch nor coremltools.
"""

from __future__ import annotations

from tinystyle.errors import UserError, closest

__all__ = ["FORMATS", "IOS", "VARIANTS", "check_compute", "check_format", "check_size", "macos_of"]

FORMATS: dict[str, tuple[int, ...]] = {
    "mlmodel": (32, 16, 8, 6, 4),
    "mlpackage": (32, 16, 8, 6, 4),
}
"""Format -> numbers of bits per convolution weight that it supports. Formats are named by their file suffix."""

IOS = (16, 18)
"""The oldest iOS versions that a file can be made for; see `VARIANTS` for the possible combinations."""

VARIANTS = (*((name, bits, 16) for name, choices in FORMATS.items() for bits in choices), ("mlpackage", 4, 18))
"""(format, bits, iOS) of every file that can be written. iOS 18 adds int4; all other files run there too."""

MIN_SIDE, MAX_SIDE = 20, 4096
"""Range of an exported image's sides in pixels. Smaller images would be padded; larger ones take gigabytes to run."""


def macos_of(ios: int) -> str:
    """Return the macOS that was released with an iOS, from 13 on, and has the same frameworks."""
    if ios == 13:
        return "10.15"
    # From 26 on, iOS and macOS have one number.
    return str(ios if ios >= 26 else ios - 3)


def check_format(format: str, bits: int, ios: int = 16) -> None:
    """Raise UserError unless a file of `format` can have `bits` bits per weight and run on iOS version `ios`."""
    if format not in FORMATS:
        raise UserError(f"`format` {format}{closest(format, FORMATS)}: give {' or '.join(FORMATS)}")
    if bits not in FORMATS[format]:
        *others, last = map(str, FORMATS[format])
        raise UserError(f"`bits` {bits}: give {', '.join(others)} or {last}")
    if ios not in IOS:
        raise UserError(f"`ios` {ios}: give {' or '.join(map(str, IOS))}")
    if (format, bits, ios) not in VARIANTS:
        raise UserError(
            f"`ios` {ios} is for an mlpackage of 4 bits; give 16 for this one, which runs on later versions too"
        )


def check_compute(format: str, bits: int, compute: str | None) -> str | None:
    """Return the precision in which a file computes: "float16", "float32", or None if the device decides.

    Args:
        format: a key of `FORMATS`.
        bits: bits per convolution weight.
        compute: the requested precision; None means the default.

    Raises:
        UserError: a file of this format and these bits cannot compute in that precision.
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
    """Raise UserError unless both sides, in pixels, are multiples of `stride` from MIN_SIDE to MAX_SIDE.

    The message names the nearest possible size.
    """
    nearest = [_nearest(side, stride) for side in (width, height)]
    if nearest != [width, height]:
        raise UserError(
            f"the size {width}x{height} is not possible: both sides must be multiples of {stride} "
            f"from {MIN_SIDE} to {MAX_SIDE}; the nearest is {nearest[0]}x{nearest[1]}"
        )


def _nearest(side: int, stride: int) -> int:
    lowest, highest = -(-MIN_SIDE // stride), MAX_SIDE // stride
    return stride * min(max((2 * side + stride) // (2 * stride), lowest), highest)
