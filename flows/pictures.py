"""Pictures inside Markdown artifacts. A link would need a server that the reader's browser may open without a password."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["embedded"]

_SIDE = 1200
_BYTES = 150_000
"""Largest size of a picture in an artifact, which Prefect's database keeps."""
_QUALITIES = (85, 70, 50, 30)


def embedded(picture: Image.Image, alt: str) -> str:
    """Return Markdown that contains a picture as JPEG, scaled down to 1200 px, at most about 150 KB."""
    small = picture.convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    for quality in _QUALITIES:
        file = io.BytesIO()
        small.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= _BYTES:
            break
    return f"![{alt}](data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()})"
