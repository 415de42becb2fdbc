"""Stylizes one picture in memory, in tiles if it would take too much of it."""

from __future__ import annotations

from typing import Any

from PIL import Image

from tinystyle.model_file import LoadedModel
from tinystyle.stylize.fitting import AUTO, Fitting
from tinystyle.stylize.picture import Picture
from tinystyle.stylize.render import stylize_image
from tinystyle.stylize.stroke_size import check_stroke_size
from tinystyle.stylize.tiles.decode import spilled
from tinystyle.stylize.tiles.large import stylize_large

__all__ = ["stylize_picture"]


def stylize_picture(
    model: LoadedModel,
    picture: Picture,
    *,
    keep_colors: bool = False,
    strength: float = 1.0,
    stroke_size: float = 1.0,
    tile: str | int = AUTO,
) -> Image.Image:
    """Return the stylized picture, RGB or RGBA, with its metadata in `info`.

    Args:
        keep_colors, strength, stroke_size: see `stylize_image`.
        tile: see `stylize_photos`.

    Raises:
        UserError: an option is out of range, or memory or the disk of temporary files does not suffice.
    """
    options: dict[str, Any] = {"keep_colors": keep_colors, "strength": strength, "stroke_size": stroke_size}
    check_stroke_size(stroke_size)
    side = Fitting(model, tile, stroke_size).tile_side("`image`", picture.image.size)
    if side:
        image = stylize_large(model.network, spilled(picture), side, **options).image().copy()
    else:
        image = Picture(stylize_image(model, picture.image, **options), picture.alpha).whole()
    image.info.update(picture.metadata.info())
    return image
