"""Masks that say where a photo is stylized: white is stylized, black keeps the photo, gray blends the two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.stylize.photos import Photo, find_photos
from tinystyle.stylize.picture import read_picture

__all__ = ["Masks", "fitted_mask", "read_mask"]

_MOST_STRETCHED = 1.02
"""How far the proportions of mask and photo may differ; a mask from a smaller copy of the photo is off by rounding."""


class Masks:
    """The masks of several photos: one file for all of them, or a folder with one of each photo's name.

    Args:
        place: path or URI of an image, or of a folder of images.
        photos: the photos; every one has a mask.
        invert: stylize where the mask is black.

    Raises:
        UserError: the mask, or that of a photo, is missing or is not an image, or a name has two masks.
        OSError: the folder cannot be listed.
    """

    def __init__(self, place: str | Path, photos: Sequence[Photo], *, invert: bool = False) -> None:
        self._invert = invert
        self._of: dict[str, Photo] = {}
        self._last: tuple[str, Image.Image] | None = None
        found = _find(place)
        if len(found) == 1 and found[0].source == str(place):
            self._of = {photo.source: found[0] for photo in photos}
            return
        by_name: dict[str, Photo] = {}
        for mask in found:
            if (other := by_name.setdefault(mask.stem, mask)) is not mask:
                raise UserError(f"`mask` {place}: {other.source} and {mask.source} have one name; keep one of them")
        for photo in photos:
            if photo.stem not in by_name:
                raise UserError(f"{photo.source}: `mask` {place} has no image named {photo.stem}; add it there")
            self._of[photo.source] = by_name[photo.stem]

    def of(self, photo: Photo, size: tuple[int, int]) -> Image.Image:
        """Return the mask of a photo, mode L, 255 where it is stylized.

        Args:
            photo: one of the photos.
            size: (width, height) of the upright photo, to which the mask is resized.

        Raises:
            UserError: it cannot be decoded, or has not the photo's proportions.
        """
        mask = self._of[photo.source]
        if self._last is None or self._last[0] != mask.source:
            try:
                self._last = mask.source, read_mask(mask.read(), mask.source, invert=self._invert)
            except OSError as error:
                raise UserError(f"{mask.source}: cannot be read ({error.strerror or error})") from error
        return fitted_mask(self._last[1], mask.source, photo.source, size)


def _find(place: str | Path) -> list[Photo]:
    if str(place) == "-":
        raise UserError("`mask` -: give a file or a folder; standard input is for a photo")
    if not storage.is_remote(place) and not storage.local_path(place).exists():
        raise UserError(f"`mask` {place}: no such file or folder")
    return find_photos([place])


def read_mask(data: bytes, what: str, *, invert: bool = False) -> Image.Image:
    """Decode a mask, upright as its EXIF says: mode L, its luma; what is transparent in it is black.

    Raises:
        UserError: it cannot be decoded; the message begins with `what`.
    """
    picture = read_picture(data, what)
    mask = picture.image.convert("L")
    if picture.alpha is not None:
        mask = ImageChops.multiply(mask, picture.alpha)
    return ImageOps.invert(mask) if invert else mask


def fitted_mask(mask: Image.Image, what: str, photo: str, size: tuple[int, int]) -> Image.Image:
    """Return the mask resized to `size` (width, height).

    Args:
        mask: mode L.
        what, photo: names of the mask and of what it is for, for the error.

    Raises:
        UserError: its proportions are not those of `size`.
    """
    stretched = mask.width * size[1] / (mask.height * size[0])
    # One pixel, because each side of a scaled copy is rounded.
    slack = _MOST_STRETCHED + 1 / min(*mask.size, *size)
    if not 1 / slack <= stretched <= slack:
        raise UserError(
            f"{photo}: the mask {what} has {mask.width}x{mask.height} pixels, which is not the shape of {size[0]}x{size[1]}; "
            "give one of its proportions"
        )
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
