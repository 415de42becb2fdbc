"""What a photo's file says beside its pixels, as far as it is true of the stylized version too.

That version is upright, sRGB, without the camera's thumbnail, and perhaps smaller. Does not depend on where files are.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from PIL import ExifTags, Image, ImageCms

from tinystyle.data.color import space
from tinystyle.data.color_signals import usable_profile

__all__ = ["TIFF_KEPT", "Metadata", "read_metadata"]

_SRGB = 1  # value of Exif's ColorSpace
_TAGS, _IFD = ExifTags.Base, ExifTags.IFD
TIFF_KEPT = {
    *(_TAGS.ImageDescription, _TAGS.Make, _TAGS.Model, _TAGS.Software, _TAGS.DateTime, _TAGS.Artist, _TAGS.Copyright),
    *(_TAGS.XResolution, _TAGS.YResolution, _TAGS.ResolutionUnit, _IFD.Exif, _IFD.GPSInfo),
}
"""Tags of a TIFF that describe the picture, not how its pixels are stored."""
_OF_COLORS = {
    *(_TAGS.TransferFunction, _TAGS.WhitePoint, _TAGS.PrimaryChromaticities),
    *(_TAGS.YCbCrCoefficients, _TAGS.ReferenceBlackWhite, _TAGS.InterColorProfile, _TAGS.XMLPacket),
}
"""Tags that say how colors were stored, or are kept elsewhere."""
_INDEX, _INDEX_SRGB = 1, "R98"  # of Exif's interoperability tags; R03 would be Adobe RGB
_NOT_TEXT = {"xml:com.adobe.xmp", "raw profile type exif", "raw profile type app1", "raw profile type icc"}
_MOST_TEXT = 1_000_000
"""Characters of a PNG's text; more is not a caption but data of another program."""

# Of an XMP packet (ISO 16684-1): as an attribute, NAME="value", or as an element, <NAME>value</NAME>.
_VALUE = r"""(?P<head>\b{name}\s*=\s*["']|<{name}>\s*)[^"'<]*"""
# What names files that were inside or behind the photo's: thumbnails, gain maps, videos, the rest of a long packet.
_LEFT_BEHIND = (
    rb"xmpNote:HasExtendedXMP|hdrgm:\w+|HDRGainMap:\w+|GCamera:(?:MicroVideo|MotionPhoto)\w*|"
    rb"(?:xmp|xap):Thumbnails|Container:Directory"
)
_LEFT_ATTRIBUTE = rb"""\s(?:%s)\s*=\s*(?:"[^"]*"|'[^']*')""" % _LEFT_BEHIND
_LEFT_ELEMENT = rb"<(?P<name>%s)(?=[\s/>])(?:[^>]*/>|.*?</(?P=name)>)" % _LEFT_BEHIND


@dataclass(frozen=True)
class Metadata:
    """What is written into the file of a stylized picture."""

    exif: bytes = b""
    """EXIF block, or nothing."""
    xmp: bytes = b""
    """XMP packet, or nothing."""
    icc: bytes | None = None
    """Profile of sRGB, if the photo had a profile that could be used; otherwise the file has none."""
    dpi: tuple[float, float] | None = None
    """Resolution in pixels per inch, horizontally and vertically."""
    comment: str = ""
    text: Mapping[str, str] = field(default_factory=dict)
    """Named texts of a PNG, such as Title and Author, without the comment."""

    def info(self) -> dict[str, Any]:
        """Return what an image of Pillow's has in `info` after it was read from such a file."""
        values = {"exif": self.exif, "xmp": self.xmp, "icc_profile": self.icc, "dpi": self.dpi, "comment": self.comment}
        return {**self.text, **{name: value for name, value in values.items() if value}}


def read_metadata(file: Image.Image, size: tuple[int, int], *, upright: bool = True) -> Metadata:
    """Read what a file says of a picture that is sRGB now, and of `size` (width, height).

    Whatever is damaged is left out.

    Args:
        file: the file as Pillow opened it; a PNG, which may have texts after its pixels, is decoded for them.
        size: of the stylized picture.
        upright: whether its pixels have been turned as EXIF says; otherwise it keeps saying so.
    """
    with warnings.catch_warnings():  # about odd metadata
        warnings.simplefilter("ignore")
        dpi = _resolution(file.info.get("dpi")) or _resolution_of_exif(file)
        exif, turned = _exif(file, size, upright)
        texts = _texts(file)
        comment = _text(file.info.get("comment", b"")) or texts.pop("Comment", "")
        return Metadata(
            exif=exif,
            xmp=_xmp(file.info.get("xmp") or file.info.get("XML:com.adobe.xmp"), size, upright),
            icc=_profile(file),
            dpi=dpi[::-1] if dpi and turned else dpi,
            comment=comment,
            text=texts,
        )


def _exif(file: Image.Image, size: tuple[int, int], upright: bool) -> tuple[bytes, bool]:
    """Return the EXIF block, and whether turning the picture upright exchanges its sides.

    Pillow writes no thumbnail.
    """
    turned = False
    try:
        exif = file.getexif()
        turned = upright and exif.get(_TAGS.Orientation, 1) in (5, 6, 7, 8)
        kept = TIFF_KEPT if file.format == "TIFF" else exif.keys() - _OF_COLORS
        for tag in exif.keys() - kept:
            del exif[tag]
        if not exif:
            return b"", turned
        if upright:
            exif[_TAGS.Orientation] = 1
        if turned and _TAGS.XResolution in exif and _TAGS.YResolution in exif:
            exif[_TAGS.XResolution], exif[_TAGS.YResolution] = exif[_TAGS.YResolution], exif[_TAGS.XResolution]
        # To ask for a part that is absent would make an empty one, which a TIFF cannot have.
        details = exif.get_ifd(_IFD.Exif) if _IFD.Exif in exif else {}
        interoperability = exif.get_ifd(_IFD.Interop) if _IFD.Interop in details else {}
        if interoperability.get(_INDEX):
            interoperability[_INDEX] = _INDEX_SRGB
        details.pop(_TAGS.Gamma, None)
        now = {_TAGS.ExifImageWidth: size[0], _TAGS.ExifImageHeight: size[1], _TAGS.ColorSpace: _SRGB}
        details.update({tag: value for tag, value in now.items() if tag in details})
        return exif.tobytes(), turned
    except Exception:  # EXIF can be broken in many ways, none of which concerns the picture
        return b"", turned


def _xmp(packet: object, size: tuple[int, int], upright: bool) -> bytes:
    """Return an XMP packet that does not contradict the picture, and names nothing that was left behind."""
    data = packet.encode() if isinstance(packet, str) else packet
    if not isinstance(data, bytes) or b"\0" in data.rstrip(b"\0 \n"):  # in UTF-16, which readers of files do not expect
        return b""
    data = data.rstrip(b"\0")
    width, height = (str(side) for side in size)
    true = {
        **({"tiff:Orientation": "1"} if upright else {}),
        **{"exif:PixelXDimension": width, "exif:PixelYDimension": height, "exif:ColorSpace": str(_SRGB)},
        **{"tiff:ImageWidth": width, "tiff:ImageLength": height},
        "photoshop:ICCProfile": "sRGB IEC61966-2.1",
    }
    for name, value in true.items():
        data = re.sub(_VALUE.format(name=name).encode(), rb"\g<head>" + value.encode(), data)
    return re.sub(_LEFT_ATTRIBUTE, b"", re.sub(_LEFT_ELEMENT, b"", data, flags=re.DOTALL))


def _profile(file: Image.Image) -> bytes | None:
    """Return the file's profile if it is true of an sRGB picture, another one of sRGB if not, None if it is unusable."""
    profile: bytes | None = file.info.get("icc_profile")
    usable = usable_profile(profile, file.mode, lambda _: None) if profile else None
    if profile is None or usable is None:
        return None
    return profile if not usable and space(profile) == "RGB" else _srgb()


@lru_cache(maxsize=1)
def _srgb() -> bytes:
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    srgb[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # its date, which is that of now
    return bytes(srgb)


def _resolution(dpi: object) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(value) for value in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sensible = all(math.isfinite(value) and 1 <= value <= 65535 for value in (horizontal, vertical))
    return (horizontal, vertical) if sensible else None


def _resolution_of_exif(file: Image.Image) -> tuple[float, float] | None:
    """Return the resolution that EXIF gives, for formats that have no other place for it."""
    with suppress(Exception):
        exif = file.getexif()
        factor = {2: 1.0, 3: 2.54}[int(exif.get(_TAGS.ResolutionUnit, 2))]
        return _resolution([float(exif[tag]) * factor for tag in (_TAGS.XResolution, _TAGS.YResolution)])
    return None


def _texts(file: Image.Image) -> dict[str, str]:
    if file.format != "PNG":
        return {}
    texts: dict[str, str] = {}
    with suppress(Exception):  # damage after the pixels, which decoding reports if it matters
        texts = {key: str(text) for key, text in getattr(file, "text", {}).items() if key.lower() not in _NOT_TEXT}
    return texts if sum(map(len, texts.values())) <= _MOST_TEXT else {}


def _text(data: object) -> str:
    if isinstance(data, str):
        return data
    if not isinstance(data, bytes):
        return ""
    try:
        return data.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return data.rstrip(b"\0").decode("latin-1")
