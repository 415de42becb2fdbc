"""The formats in which stylized pictures are written, by suffix or name, and how metadata goes into each."""

from __future__ import annotations

import io
import logging
from pathlib import PurePath
from typing import IO, Any

from PIL import ExifTags, Image, PngImagePlugin

from tinystyle.errors import UserError
from tinystyle.stylize.metadata import TIFF_KEPT, Metadata

__all__ = [
    "DEFAULT",
    "FORMATS",
    "SUFFIXES",
    "check_quality",
    "check_size",
    "encode",
    "format_of_suffix",
    "has_alpha",
    "save",
]

_LOG = logging.getLogger(__name__)

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF"}
"""Formats by the names of options: what they are called."""
DEFAULT = "png"
SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}
_QUALITY = {"jpeg": 92, "webp": 90}
_FULL_CHROMA = 90
"""JPEG quality from which colors have the full resolution."""
_LARGEST_SIDE = {"jpeg": 65500, "webp": 16383}
_JPEG_BLOCK, _XMP_OVERHEAD = 65533, 29
_XMP_TAG = 700


def format_of_suffix(path: PurePath) -> str | None:
    """Return the format that the suffix of a name asks for; None if it is not one of `SUFFIXES`."""
    return SUFFIXES.get(path.suffix.lower())


def has_alpha(format_: str) -> bool:
    """Return whether files of a format can have transparency."""
    return format_ != "jpeg"


def check_quality(quality: int | None, format_: str) -> None:
    """Raise UserError unless `quality` is None, or in range and of a format that has one."""
    if quality is None:
        return
    if format_ not in _QUALITY:
        raise UserError(f"`quality` is for JPEG and WebP; {FORMATS[format_]} keeps every pixel as it is")
    if not 1 <= quality <= 100:
        raise UserError(f"`quality` {quality}: give a number from 1 (smallest file) to 100 (best)")


def check_size(what: str, size: tuple[int, int], format_: str) -> None:
    """Raise UserError if a picture of `size` (width, height) does not fit into a format."""
    most = _LARGEST_SIDE.get(format_)
    if most and max(size) > most:
        raise UserError(
            f"{what}: {size[0]}x{size[1]} pixels are too many for a {FORMATS[format_]} file, whose sides are at most {most}; "
            "write a PNG, or give `max_side`"
        )


def save(image: Image.Image, file: IO[bytes], format_: str, metadata: Metadata, quality: int | None = None) -> None:
    """Encode an upright sRGB picture, RGB or RGBA, with its metadata.

    A TIFF is not compressed: Pillow writes no compressed one with EXIF. What a format has no place for is left out: named
    texts outside PNG, a comment in WebP. EXIF, XMP and comments that are too long for a JPEG are left out with a warning.

    Args:
        format_: a key of `FORMATS`.
        quality: of JPEG and WebP, 1 to 100; by default 92 and 90.
    """
    # An empty profile, or Pillow would write that of the photo.
    common: dict[str, Any] = {"icc_profile": metadata.icc}
    if metadata.dpi:
        common["dpi"] = metadata.dpi
    of_format = {"png": _png, "jpeg": _jpeg, "webp": _webp, "tiff": _tiff}[format_](metadata)
    if format_ in _QUALITY:
        of_format["quality"] = quality or _QUALITY[format_]
    if format_ == "jpeg":
        of_format["subsampling"] = "4:4:4" if of_format["quality"] >= _FULL_CHROMA else "4:2:0"
    image.save(file, format=format_, **{**of_format, **common})


def _png(metadata: Metadata) -> dict[str, Any]:
    texts = PngImagePlugin.PngInfo()
    for key, text in {**({"Comment": metadata.comment} if metadata.comment else {}), **metadata.text}.items():
        texts.add_text(key, text)
    if metadata.xmp:
        texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode(errors="replace"))
    return {"exif": metadata.exif, "pnginfo": texts}


def _jpeg(metadata: Metadata) -> dict[str, Any]:
    blocks = {"exif": metadata.exif, "xmp": metadata.xmp, "comment": metadata.comment.encode()}
    names = {"exif": "EXIF", "xmp": "XMP", "comment": "comment"}
    for name, data in list(blocks.items()):
        if len(data) > _JPEG_BLOCK - (_XMP_OVERHEAD if name == "xmp" else 0):
            _LOG.warning("the photo's %s is too long for a JPEG file, and is left out", names[name])
            blocks[name] = b""
    return blocks


def _webp(metadata: Metadata) -> dict[str, Any]:
    exif = _loaded(metadata.exif)
    if metadata.dpi and ExifTags.Base.XResolution not in exif:  # no other place for it
        exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = metadata.dpi
        exif[ExifTags.Base.ResolutionUnit] = 2
    return {"exif": exif.tobytes() if exif else b"", "xmp": metadata.xmp}


def _tiff(metadata: Metadata) -> dict[str, Any]:
    exif = _loaded(metadata.exif)
    for tag in exif.keys() - TIFF_KEPT:
        del exif[tag]
    if metadata.comment and ExifTags.Base.ImageDescription not in exif:
        exif[ExifTags.Base.ImageDescription] = metadata.comment.encode()  # Pillow would replace what is not ASCII
    if metadata.xmp:
        exif[_XMP_TAG] = metadata.xmp
    return {"exif": exif, "compression": "raw"}


def _loaded(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    if block:
        exif.load(block)
    return exif


def encode(image: Image.Image, format_: str, metadata: Metadata, quality: int | None = None) -> bytes:
    """Return what `save` writes."""
    buffer = io.BytesIO()
    save(image, buffer, format_, metadata, quality)
    return buffer.getvalue()
