"""A photo's pixels and EXIF out of a file, and into a PNG. Knows nothing of models or of where files lie."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageCms

from tinystyle.data.images import FORMATS, open_rgb

__all__ = ["Picture", "read_picture", "scaled_size", "to_png"]

_SRGB = 1  # of Exif's ColorSpace
_TAGS, _IFD = ExifTags.Base, ExifTags.IFD
# What of a TIFF describes the picture and not how its pixels are stored.
_TIFF_KEPT = {
    *(_TAGS.ImageDescription, _TAGS.Make, _TAGS.Model, _TAGS.Software, _TAGS.DateTime, _TAGS.Artist, _TAGS.Copyright),
    *(_TAGS.XResolution, _TAGS.YResolution, _TAGS.ResolutionUnit, _IFD.Exif, _IFD.GPSInfo),
}


@dataclass(frozen=True)
class Picture:
    """An upright 8-bit sRGB image and its EXIF block, empty if it has none."""

    image: Image.Image
    exif: bytes


def read_picture(data: bytes, what: str, max_side: int | None = None) -> Picture:
    """Decode an image file as `open_rgb` does, into sRGB, scaled down to `max_side` pixels where a side is longer.

    A network knows numbers, not colour spaces, and has learnt a painting's in sRGB: the same numbers shown as Display P3
    would be other colours than the painting's. So RGB of another profile is converted, and the PNG needs no profile. A
    profile that is damaged, or not of RGB (open_rgb has left CMYK and greyscale behind), is ignored.

    EXIF is kept, with the orientation set to upright, sizes and colour space as they now are, and without the thumbnail,
    which would show the photo as it was. Damaged EXIF is left out.

    Args:
        what: names the image in errors.

    Raises:
        ValueError: it cannot be decoded; one sentence that begins with `what`.
    """
    image = open_rgb(data, what)
    with warnings.catch_warnings():  # of odd metadata, which is handled
        warnings.simplefilter("ignore")
        file = Image.open(io.BytesIO(data), formats=FORMATS)
        converted = _to_srgb(image, file.info.get("icc_profile"))
        size = scaled_size(image.size, max_side)
        scaled = (converted or image).resize(size, Image.Resampling.LANCZOS)  # a copy where nothing is to be done
        return Picture(scaled, _exif(file, size, converted=converted is not None))


def scaled_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """(width, height) with the longer side at most `max_side`, in proportion and at least 1."""
    if max_side is None or max(size) <= max_side:
        return size
    width, height = (max(1, round(side * max_side / max(size))) for side in size)
    return width, height


def to_png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    # None, or Pillow would write the profile that the pixels had in the file.
    picture.image.save(buffer, format="PNG", icc_profile=None, exif=picture.exif)
    return buffer.getvalue()


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """The image converted to sRGB; None where there is nothing to convert."""
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
    except Exception:  # it is broken in any of many ways, none of which concerns the picture
        return b""
