"""Converts pixels to sRGB by an ICC profile, with LittleCMS. Does not know where in a file a profile was.

LittleCMS is called through imagecodecs, whose conversions also take 16 bits and floats, which Pillow's do not. It is
imported where it is used: most photos are sRGB, and the processes that decode them start often.

The rendering intent is perceptual, LittleCMS's default. Among profiles of matrices and curves, which photos have, all
relative intents are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "FloatArray",
    "convert",
    "is_srgb",
    "profile_of_curve",
    "profile_of_gamma",
    "space",
    "to_srgb",
    "why_invalid",
]

FloatArray = NDArray[np.float32]

_SPACES = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "GRAY", b"Lab ": "Lab", b"YCbr": "YCbCr"}
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
"""Display, input, output, color space: classes of profiles that describe the colors of an image."""
_STRIP_PIXELS = 1_000_000
_SAME = 1
"""Gray levels between a profile and sRGB that are rounding, such as of a curve with few points."""
_PERCEPTUAL, _RELATIVE, _NO_OPTIMIZATION = 0, 1, 256


def space(profile: bytes) -> str:
    """Return the color space of a profile by its header: "RGB", "CMYK", "GRAY", "Lab" or another."""
    signature = profile[16:20]
    return _SPACES.get(signature, signature.decode("latin-1").strip())


@lru_cache(maxsize=64)
def why_invalid(profile: bytes) -> str | None:
    """Return why a profile cannot be used; None if it can."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return "damaged"
    if profile[12:16] not in _CLASSES:
        return "not one of an image"
    channels = {"RGB": 3, "CMYK": 4, "GRAY": 1}.get(space(profile))
    if channels is None:
        return f"of the color space {space(profile)}"
    try:
        _transform(np.zeros((1, 1, channels), np.uint8), profile, np.uint8)
    except Exception:  # whatever LittleCMS does not accept
        return "damaged"
    return None


@lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Return whether a profile of RGB or gray changes no color by more than one gray level: by any name, it is sRGB.

    Pixels of such a file are left as they are. sRGB's own "preference" profile, whose perceptual intent is a picture
    rendering for print, is sRGB by its colorimetric one.
    """
    if space(profile) not in ("RGB", "GRAY"):
        return False
    if space(profile) == "GRAY":
        return all(curve[level] - level in (-1, 0, 1) for curve in _gray_curves(profile) for level in range(256))
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 1, 3)
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    colors = np.concatenate([grid, grays])
    return any(
        int(np.abs(_transform(colors, profile, np.uint8, intent=intent).astype(int) - colors).max()) <= _SAME
        for intent in (_PERCEPTUAL, _RELATIVE)
    )


def convert(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image of 8 bits to sRGB; strip by strip and in place, so that a large one does not take its size twice.

    Args:
        image: which is not to be used afterwards; mode L for a profile of gray, RGB or L for one of RGB, CMYK for one of CMYK.
        profile: a profile with which `why_invalid` finds nothing wrong.

    Returns:
        An RGB image.
    """
    if space(profile) == "GRAY":
        return Image.merge("RGB", [image.point(curve) for curve in _gray_curves(profile)])
    image = image.convert("RGB") if image.mode == "L" else image
    transform = partial(_transform, profile=profile, kind=np.uint8)
    if image.mode != "RGB" or _has_tables(profile):  # between the points of LittleCMS's own tables it is too far off
        transform = partial(transform, flags=_NO_OPTIMIZATION)
    converted = image if image.mode == "RGB" else Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        converted.paste(Image.fromarray(transform(np.asarray(image.crop(box)))), box)
    return converted


def to_srgb(samples: FloatArray, profile: bytes) -> FloatArray:
    """Convert samples of 0..1, of any precision, to sRGB.

    Args:
        samples: (H, W, C) float32; C is 1 for a profile of gray, 3 for one of RGB, 4 for one of CMYK (1 is full ink).
        profile: a profile with which `why_invalid` finds nothing wrong.

    Returns:
        (H, W, 3) float32, 0..1.
    """
    scale = np.float32(100 if space(profile) == "CMYK" else 1)  # LittleCMS counts ink in percent
    converted: FloatArray = _transform(np.ascontiguousarray(samples * scale, np.float32), profile, np.float32)
    return np.nan_to_num(converted).clip(0, 1)


def profile_of_gamma(white: Sequence[float], primaries: Sequence[float], gamma: float) -> bytes:
    """Return a profile of RGB by its chromaticities (x, y of white; of red, green and blue) and a gamma such as 2.2."""
    return _virtual(white, primaries, gamma=gamma)


def profile_of_curve(white: Sequence[float], primaries: Sequence[float], curve: NDArray[np.float64]) -> bytes:
    """Return a profile of RGB by its chromaticities and the linear light, 0..1, at evenly spaced values of 0..1."""
    return _virtual(white, primaries, transferfunction=curve.astype(np.float32))


@lru_cache(maxsize=64)
def _gray_curves(profile: bytes) -> list[list[int]]:
    """Return R, G and B for each gray level. LittleCMS's own conversion of 8-bit gray is off by up to ten levels."""
    levels = to_srgb(np.linspace(0, 1, 256, dtype=np.float32)[:, None, None], profile)[:, 0]
    curves: list[list[int]] = np.rint(levels * 255).astype(int).T.tolist()
    return curves


def _virtual(white: Sequence[float], primaries: Sequence[float], **curve: Any) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("rgb", whitepoint=list(white), primaries=list(primaries), **curve))


def _has_tables(profile: bytes) -> bool:
    """Return whether a profile converts by a table of colors (A2B0, D2B0 and so on), not by a matrix and curves."""
    count = min(int.from_bytes(profile[128:132], "big"), 200)
    return any(profile[132 + 12 * tag + 1 :].startswith(b"2B") for tag in range(count))


def _transform(
    samples: NDArray[Any], profile: bytes, kind: type[np.generic], *, intent: int = _PERCEPTUAL, flags: int = 0
) -> NDArray[Any]:
    import imagecodecs

    converted: NDArray[Any] = imagecodecs.cms_transform(
        samples[..., 0] if space(profile) == "GRAY" else samples,
        profile,
        _srgb(),
        colorspace=space(profile).lower(),
        outcolorspace="rgb",
        outdtype=np.dtype(kind),
        intent=intent,
        flags=flags,
    )
    return converted


@lru_cache(maxsize=1)
def _srgb() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))
