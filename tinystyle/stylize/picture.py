"""Reads a photo's pixels and EXIF from a file, and writes them to a PNG. Does not depend on models or on storage."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageCms

from tinystyle.data.images import FORMATS, open_rgb

__all__ = ["Picture", "read_picture", "scaled_size", "to_png"]

_SRGB = 1  # value of Exif's ColorSpace
_TAGS, _IFD = ExifTags.Base, ExifTags.IFD
# Tags of a TIFF that describe the picture, not how its pixels are stored.
_TIFF_KEPT = {
    *(_TAGS.ImageDescription, _TAGS.Make, _TAGS.Model, _TAGS.Software, _TAGS.DateTime, _TAGS.Artist, _TAGS.Copyright),
    *(_TAGS.XResolution, _TAGS.YResolution, _TAGS.ResolutionUnit, _IFD.Exif, _IFD.GPSInfo),
}


@dataclass(frozen=True)
class Picture:
    """An upright 8-bit sRGB image and its EXIF block, which is empty if it has none."""

    image: Image.Image
    exif: bytes


def read_picture(data: bytes, what: str, max_side: int | None = None) -> Picture:
    """Decode an image file as `open_rgb` does, convert it to sRGB, and scale it down to `max_side` pixels at most.

    A network is trained on sRGB values and knows no color spaces; its output displayed as Display P3 would have other
    colors than the painting. So RGB with another profile is converted, and the PNG needs no profile. A profile that is
    damaged, or not for RGB (`open_rgb` has already converted CMYK and grayscale), is ignored.

    EXIF is kept, with the orientation set to upright and with the new sizes and color space, but without the thumbnail,
    which would show the original photo. Damaged EXIF is left out.

    Args:
        data: content of the file.
        what: name of the image in error messages, such as "style paintings/a.jpg".
        max_side: maximum longer side in pixels; None keeps the size.

    Raises:
        UserError: the image cannot be decoded; the message begins with `what`.
    """
    image = open_rgb(data, what)
    with warnings.catch_warnings():  # about odd metadata, which is handled
        warnings.simplefilter("ignore")
        file = Image.open(io.BytesIO(data), formats=FORMATS)
        converted = _to_srgb(image, file.info.get("icc_profile"))
        size = scaled_size(image.size, max_side)
        scaled = (converted or image).resize(size, Image.Resampling.LANCZOS)  # a copy, even if nothing changes
        return Picture(scaled, _exif(file, size, converted=converted is not None))


def scaled_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return (width, height) with the longer side at most `max_side`, in proportion, and each at least 1."""
    if max_side is None or max(size) <= max_side:
        return size
    width, height = (max(1, round(side * max_side / max(size))) for side in size)
    return width, height


def to_png(picture: Picture) -> bytes:
    """Return the picture as a PNG file."""
    buffer = io.BytesIO()
    # None, or Pillow would write the original file's profile.
    picture.image.save(buffer, format="PNG", icc_profile=None, exif=picture.exif)
    return buffer.getvalue()


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Return the image converted to sRGB; None if there is nothing to convert."""
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB" or "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _exif(file: Image.Image, size: tuple[int, int], *, converted: bool) -> bytes:
    try:
        exif = file.getexif()
        if file.format == "TIFF":
            for tag in exif.keys() - _TIFF_KEPT:
                del exif[tag]
        if not exif:
            return b""
        exif[_TAGS.Orientation] = 1
        now = {_TAGS.ExifImageWidth: size[0], _TAGS.ExifImageHeight: size[1]}
        if converted:
            now[_TAGS.ColorSpace] = _SRGB
        details = exif.get_ifd(_IFD.Exif)
        details.update({tag: value for tag, value in now.items() if tag in details})
        return exif.tobytes()
    except Exception:  # EXIF can be broken in many ways, none of which concerns the picture
        return b""
