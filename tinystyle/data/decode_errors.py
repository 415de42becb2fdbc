"""Turns whatever a decoder of images raises into the reason for which a file is not used."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from tinystyle.data.file_kinds import FORMATS, is_tiff
from tinystyle.data.reasons import NO_IMAGE, TRUNCATED, Unusable

__all__ = ["BOMB", "decode_errors"]

BOMB = "decompression bomb"
"""How the reason begins for which a file with too many pixels is not used."""

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  ")
_TRUNCATED = ("truncated", "premature end", "but only got", "reached eof", "not enough image data")


@contextmanager
def decode_errors(data: bytes) -> Iterator[None]:
    """Turn whatever a decoder of `data` raises into `Unusable`: hostile bytes raise nearly every built-in exception."""
    try:
        yield
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise Unusable(f"{BOMB}: {_claimed_size(data)}") from error
    except UnidentifiedImageError as error:
        raise Unusable(_why_unidentified(data)) from error
    except MemoryError as error:
        raise Unusable("too large for the memory") from error
    except Exception as error:
        text = " ".join(str(error).split()).removeprefix("Corrupt JPEG data: ") or type(error).__name__
        if any(sign in text.lower() for sign in _TRUNCATED) or _is_short_riff(data):
            raise Unusable(TRUNCATED) from error
        raise Unusable(f"corrupt: {text[:100]}") from error


def _why_unidentified(data: bytes) -> str:
    if not (data.startswith(_SIGNATURES) or is_tiff(data) or data[8:12] == b"WEBP" or data[4:12] == b"ftypavif"):
        return NO_IMAGE
    return TRUNCATED if len(data) < 1024 or _is_short_riff(data) else "corrupt: unreadable header"


def _is_short_riff(data: bytes) -> bool:
    """Tell whether a WebP file is shorter than its header says (its decoder gives no reason)."""
    return data.startswith(b"RIFF") and int.from_bytes(data[4:8], "little") + 8 > len(data)


def _claimed_size(data: bytes) -> str:
    """Read the size in a bomb's header, which Pillow tells only with its guard lifted. No pixel is decoded."""
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
        return f"{width}x{height}"
    except Exception:  # the bomb was inside (an embedded image), not in the outer header
        return "inside the file"
    finally:
        Image.MAX_IMAGE_PIXELS = guard
