"""Reads a photo's pixels, transparency and metadata from a file. Does not depend on models or on storage."""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass, field

from PIL import Image, ImageOps

from tinystyle.data.color_signals import usable_profile
from tinystyle.data.images import open_header, open_rgb, to_rgb
from tinystyle.stylize.metadata import Metadata, read_metadata

__all__ = ["Picture", "flattened", "picture_of", "read_picture", "scaled_size"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """An upright 8-bit sRGB image with what its file says of it."""

    image: Image.Image
    """RGB; what is transparent is composited over white."""
    alpha: Image.Image | None = None
    """Opacity, mode L, of the same size; None if the photo has no transparency."""
    metadata: Metadata = field(default_factory=Metadata)

    def whole(self) -> Image.Image:
        """Return the image as RGBA if it has transparency, as RGB if not."""
        if self.alpha is None:
            return self.image
        image = self.image.copy()
        image.putalpha(self.alpha)
        return image


def read_picture(data: bytes, what: str, max_side: int | None = None) -> Picture:
    """Decode an image file to sRGB as `open_rgb` does, and scale it down to `max_side` pixels at most.

    A network is trained on sRGB values and knows no color spaces; its output displayed as Display P3 would have other
    colors than the painting.

    Args:
        data: content of the file.
        what: name of the image in error messages, such as "style paintings/a.jpg".
        max_side: maximum longer side in pixels; None keeps the size.

    Raises:
        UserError: the image cannot be decoded; the message begins with `what`.
    """
    image = open_rgb(data, what)
    size = scaled_size(image.size, max_side)
    scaled = image.resize(size, Image.Resampling.LANCZOS)  # a copy, even if nothing changes
    with warnings.catch_warnings():  # about odd metadata, which is handled
        warnings.simplefilter("ignore")
        try:
            file = open_header(io.BytesIO(data))
        except OSError:  # a TIFF that Pillow does not open
            return Picture(scaled)
        alpha = _alpha(file) if file.has_transparency_data else None
        metadata = read_metadata(file, size)  # after what asks for the orientation, which it resets
        if alpha and alpha.size == image.size:
            return Picture(scaled, alpha.resize(size, Image.Resampling.LANCZOS), metadata)
        return Picture(scaled, None, metadata)


def picture_of(image: Image.Image, what: str) -> Picture:
    """Return an image of Pillow's, of any mode, as a picture in sRGB. It is not turned by its EXIF orientation.

    Args:
        image: the image, which is not changed.
        what: its name in warnings.
    """
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    profile = image.info.get("icc_profile")
    usable = usable_profile(profile, image.mode, lambda text: _LOG.warning("%s: %s", what, text)) if profile else None
    rgb = to_rgb(image.copy() if usable else image, usable or None)
    # Reading EXIF changes the image that is asked; a part of it has the same.
    return Picture(rgb, alpha, read_metadata(image.crop((0, 0, 1, 1)), image.size, upright=False))


def scaled_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return (width, height) with the longer side at most `max_side`, in proportion, and each at least 1."""
    if max_side is None or max(size) <= max_side:
        return size
    width, height = (max(1, round(side * max_side / max(size))) for side in size)
    return width, height


def flattened(picture: Picture) -> Picture:
    """Return the picture on white, without transparency."""
    if picture.alpha is None:
        return picture
    white = Image.new("RGB", picture.image.size, "white")
    white.paste(picture.image, mask=picture.alpha)
    return Picture(white, None, picture.metadata)


def _alpha(file: Image.Image) -> Image.Image | None:
    """Return the opacity, upright."""
    try:
        rgba = file.convert("RGBA")
    except Exception:  # the pixels were read in another way
        return None
    try:
        return ImageOps.exif_transpose(file if file.mode == "RGBA" else rgba).getchannel("A")
    except Exception:  # broken metadata, by which `open_rgb` has not turned it either
        return rgba.getchannel("A")
