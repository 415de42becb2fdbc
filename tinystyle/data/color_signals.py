"""Finds out in which colors a file's pixels are: its ICC profile, or what it says in place of one.

PNG: cICP, then iCCP, then sRGB, then gAMA and cHRM (PNG, third edition, 4.3). HEIC and AVIF: the profile, then "nclx".
JPEG 2000 and BMP: the profile in the header, which Pillow leaves there. Any of them: EXIF's mark of Adobe RGB, the
interoperability index R03 (DCF 2.0). Code points are those of ITU-T H.273.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tinystyle.data.color import is_srgb, profile_of_curve, profile_of_gamma, space, why_invalid
from tinystyle.data.reasons import Refused

__all__ = ["Note", "profile_to_convert", "usable_profile"]

Note = Callable[[str], None]
"""Called with a part of a sentence about a picture that is read nevertheless, such as "its ICC profile is damaged"."""

_D65, _DCI_WHITE, _C = (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316)
_BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_SMPTE170 = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
_P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
_PRIMARIES = {
    1: (_D65, _BT709),
    4: (_C, (0.670, 0.330, 0.210, 0.710, 0.140, 0.080)),
    5: (_D65, (0.640, 0.330, 0.290, 0.600, 0.150, 0.060)),
    6: (_D65, _SMPTE170),
    7: (_D65, _SMPTE170),
    8: (_C, (0.681, 0.319, 0.243, 0.692, 0.145, 0.049)),
    9: (_D65, (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    11: (_DCI_WHITE, _P3),
    12: (_D65, _P3),
    22: (_D65, (0.630, 0.340, 0.295, 0.605, 0.155, 0.077)),
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_BT709_CURVES, _SRGB_CURVE, _UNSPECIFIED = (1, 6, 14, 15), 13, 2
_HDR = {16: "PQ", 18: "HLG"}
_ADOBE = (_D65, (0.640, 0.330, 0.210, 0.710, 0.150, 0.060), 563 / 256)
"""Adobe RGB (1998)."""
_WRITTEN_FOR_SRGB = (0.45, 0.46)
"""PNG encoders write gAMA 0.45455 for sRGB, as the standard tells them; it is not meant as a gamma of exactly 2.2."""
_PLAUSIBLE_GAMMA = (0.1, 10.0)
_UNCALIBRATED, _EXIF_ADOBE = 0xFFFF, 2  # values of Exif's ColorSpace; 2 is that of some cameras


def profile_to_convert(image: Image.Image, data: bytes, note: Note) -> bytes | None:
    """Return the ICC profile by which an image has to be converted to sRGB; None if it is sRGB or says nothing.

    Args:
        image: the image as opened; its pixels need not be loaded.
        data: content of the file.
        note: called where what the file says cannot be used, and the colors are taken as sRGB.

    Raises:
        Refused: the colors are HDR, which has no equal in sRGB.
    """
    if image.format == "PNG":
        return _of_png(image, data, note)
    profile = image.info.get("icc_profile") or _in_header(image, data)
    if profile and (usable := usable_profile(profile, image.mode, note)) is not None:
        return usable or None
    if image.format in ("AVIF", "HEIF"):
        points = _nclx(data)
        if points and points[1] != _UNSPECIFIED:
            return _of_code_points(*points, note=note)
    return _of_exif(image)


def usable_profile(profile: bytes, mode: str, note: Note) -> bytes | None:
    """Return the profile if an image of this mode of Pillow has to be converted by it, b"" if it is sRGB.

    Returns:
        None if it cannot be used; `note` has been told.
    """
    problem = why_invalid(profile)
    wanted = {"CMYK": ("CMYK",), "LAB": ()}.get(mode)
    if wanted is None:  # a profile of RGB converts gray as three equal values
        wanted = ("GRAY", "RGB") if mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16") else ("RGB",)
    if not problem and space(profile) not in wanted:
        problem = f"one of {space(profile)} in an image of {mode}"
    if problem:
        note(f"its ICC profile is {problem} and was ignored")
        return None
    return b"" if is_srgb(profile) else profile


def _of_png(image: Image.Image, data: bytes, note: Note) -> bytes | None:
    chunks = dict(_png_chunks(data))
    if len(chunks.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full = chunks[b"cICP"]
        if transfer != _UNSPECIFIED:
            if matrix or not full:
                raise Refused("a PNG of video colors (cICP)", "export it as sRGB")
            return _of_code_points(primaries, transfer, note=note)
    if b"iCCP" in chunks:
        profile = image.info.get("icc_profile")
        if profile is None:
            note("its ICC profile is damaged and was ignored")
        elif (usable := usable_profile(profile, image.mode, note)) is not None:
            return usable or None
    if b"sRGB" in chunks:
        return None
    if b"gAMA" in chunks or b"cHRM" in chunks:
        return _of_gamma(chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b""), note)
    return _of_exif(image) if b"eXIf" in chunks else None  # Pillow would decode the pixels to look behind them


def _of_gamma(gamma_chunk: bytes, primaries_chunk: bytes, note: Note) -> bytes | None:
    gamma = int.from_bytes(gamma_chunk, "big") / 100_000 if len(gamma_chunk) == 4 else None
    numbers = [value / 100_000 for value in struct.unpack(">8I", primaries_chunk)] if len(primaries_chunk) == 32 else []
    white, primaries = (numbers[:2], numbers[2:]) if numbers else (_D65, _BT709)
    standard = max(abs(a - b) for a, b in zip([*white, *primaries], [*_D65, *_BT709], strict=True)) < 0.002
    if gamma is None:
        return None if standard else _profile(tuple(white), tuple(primaries), None, note)
    if not _PLAUSIBLE_GAMMA[0] <= gamma <= _PLAUSIBLE_GAMMA[1]:
        note(f"its gamma (gAMA {gamma:g}) makes no sense and was ignored")
        return None
    if standard and _WRITTEN_FOR_SRGB[0] <= gamma <= _WRITTEN_FOR_SRGB[1]:
        return None
    return _profile(tuple(white), tuple(primaries), 1 / gamma, note)


def _of_code_points(primaries: int, transfer: int, *, note: Note) -> bytes | None:
    if transfer in _HDR:
        raise Refused(f"an HDR image ({_HDR[transfer]})", "export it as sRGB or Display P3")
    if primaries == _UNSPECIFIED:
        primaries = 1
    if primaries not in _PRIMARIES or not (transfer in _GAMMAS or transfer in _BT709_CURVES or transfer == _SRGB_CURVE):
        note(f"its color code points ({primaries}, {transfer}) are not known and were ignored")
        return None
    if (primaries, transfer) == (1, _SRGB_CURVE):
        return None
    curve = _GAMMAS.get(transfer) or ("BT.709" if transfer in _BT709_CURVES else None)
    return _profile(*_PRIMARIES[primaries], curve, note)


def _profile(
    white: tuple[float, ...], primaries: tuple[float, ...], curve: float | str | None, note: Note
) -> bytes | None:
    profile = _cached(white, primaries, curve)
    if profile is None:
        note("its primaries make no sense and were ignored")
        return None
    return None if is_srgb(profile) else profile


@lru_cache(maxsize=64)
def _cached(white: tuple[float, ...], primaries: tuple[float, ...], curve: float | str | None) -> bytes | None:
    """Make a profile; `curve` is a gamma, "BT.709", or None for that of sRGB. None if there can be none."""
    try:
        if isinstance(curve, float):
            profile = profile_of_gamma(white, primaries, curve)
        else:
            profile = profile_of_curve(white, primaries, _bt709() if curve else _srgb())
    except Exception:  # whatever LittleCMS does not accept
        return None
    return None if why_invalid(profile) else profile


def _srgb() -> NDArray[np.float64]:
    """Return linear light by IEC 61966-2-1."""
    value = np.linspace(0, 1, 4096)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _bt709() -> NDArray[np.float64]:
    """Return linear light by the inverse of ITU-R BT.709's transfer characteristic."""
    value = np.linspace(0, 1, 4096)
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))


def _of_exif(image: Image.Image) -> bytes | None:
    try:
        exif = image.getexif()
        details = exif.get_ifd(ExifTags.IFD.Exif)
        color = details.get(ExifTags.Base.ColorSpace)
        index = (
            str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).strip("\0 ") if color in (None, _UNCALIBRATED) else ""
        )
    except Exception:  # broken metadata, in any of many ways
        return None
    return _cached(*_ADOBE) if color == _EXIF_ADOBE or index == "R03" else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) of the chunks before the pixels; of large ones only the type counts."""
    place = 8
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind == b"IDAT":
            return
        yield kind, data[place + 8 : place + 8 + min(length, 64)]
        place += 12 + length


def _nclx(data: bytes) -> tuple[int, int] | None:
    """Return the code points (primaries, transfer) of the first "colr" box of kind "nclx" (ISO/IEC 14496-12)."""
    place = data.find(b"colrnclx", 0, data.find(b"mdat") if b"mdat" in data else len(data))
    return struct.unpack_from(">HH", data, place + 8) if 0 < place < len(data) - 12 else None


def _in_header(image: Image.Image, data: bytes) -> bytes | None:
    """Return the profile in the header of a JPEG 2000 ("colr" box of method 2 or 3) or of a BMP (version 5)."""
    if image.format == "JPEG2000":
        place = data.find(b"colr", 0, 4096)
        if place > 0 and data[place + 4 : place + 5] in (b"\2", b"\3"):
            return data[place + 7 : place - 4 + int.from_bytes(data[place - 4 : place], "big")]
    if image.format == "BMP" and int.from_bytes(data[14:18], "little") == 124 and data[70:74] == b"DEBM":
        start, length = struct.unpack_from("<II", data, 14 + 112)
        return data[14 + start : 14 + start + length] or None
    return None
