"""`mosaic`: small irregular tiles laid in courses around suns, in the manner of Art Nouveau's broken-tile mosaics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinystyle.styles.builtin.strokes import Floats, Ripples

__all__ = ["draw"]

_PITCH = 0.030
_GROUT = (38, 32, 36)

# x, y, radius, names of the colors of its rings from the center outward.
_ROSETTES = (
    (0.30, 0.30, 0.215, ("gold", "red", "orange", "gold", "white", "navy", "turquoise")),
    (0.77, 0.20, 0.155, ("red", "white", "turquoise", "navy", "gold")),
    (0.74, 0.66, 0.245, ("white", "gold", "green", "white", "blue", "turquoise", "navy", "orange")),
    (0.22, 0.80, 0.185, ("orange", "navy", "white", "red", "gold", "green")),
    (0.455, 0.505, 0.060, ("gold", "red")),
    (0.48, 0.93, 0.065, ("white", "blue")),
    (0.53, 0.08, 0.060, ("orange", "green")),
    (0.985, 0.40, 0.065, ("gold", "red")),
    (0.02, 0.54, 0.065, ("turquoise", "white")),
)
_BANDS = ("navy", "blue", "blue", "turquoise", "white", "turquoise", "blue", "navy", "green", "gold", "green")
_COLORS = {
    "navy": (20, 34, 96),
    "blue": (28, 84, 176),
    "turquoise": (38, 158, 172),
    "green": (52, 128, 70),
    "gold": (238, 182, 44),
    "orange": (226, 108, 36),
    "red": (188, 36, 44),
    "white": (240, 228, 200),
}


def draw(size: int) -> Image.Image:
    """Draw the picture, RGB (size, size)."""
    rng = np.random.default_rng(1904)
    centers, colors = _lay(rng)
    count = len(centers)
    colors = colors + rng.normal(0, 9, (count, 3)) + rng.normal(0, 15, (count, 1))
    tilt = rng.normal(0, 1, (count, 2))
    owner, gap, offset = _tiles(centers, size)
    surface = colors[owner]
    # Each tile is slightly tilted, its edges are beveled, and its glaze is uneven.
    slant = 15 * (offset * tilt[owner]).sum(-1) / _PITCH
    bevel = np.clip(1 - gap / 0.006, 0, 1) * (-offset.sum(-1) / _PITCH) * 90
    glaze = 5 * Ripples(rng, 30, waves=12)(_pixels(size))
    lit = surface + (slant + bevel + glaze)[..., None]
    grout = np.array(_GROUT) + 12 * rng.normal(size=(size, size, 1))
    # The edge of a joint is blurred over one pixel, so that it is smooth at every size.
    solid = np.clip((gap - 0.0026) * size + 0.5, 0, 1)[..., None]
    return Image.fromarray(np.clip(np.rint(grout + (lit - grout) * solid), 0, 255).astype(np.uint8))


def _lay(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the positions (N, 2) and colors (N, 3) of the tiles: rings in each rosette, wavy courses between them."""
    centers: list[Floats] = []
    colors: list[Floats] = []
    for x, y, radius, rings in _ROSETTES:
        width = radius / len(rings)
        for ring, name in enumerate(rings):
            distance = (ring + 0.5) * width
            count = max(3, round(2 * np.pi * distance / _PITCH))
            angle = 2 * np.pi * (np.arange(count) + rng.uniform(-0.16, 0.16, count) + rng.uniform()) / count
            spoke = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
            centers.append((x, y) + (distance + rng.normal(0, 0.0016, count))[:, None] * spoke)
            colors.append(np.tile(np.array(_COLORS[name], float), (count, 1)))
    for course, level in enumerate(np.arange(-0.25, 1.25, _PITCH)):
        along = np.arange(-0.06, 1.06, _PITCH * 1.05)
        along = along + rng.uniform(-0.2, 0.2, len(along)) * _PITCH + (course % 2) * 0.5 * _PITCH
        line = np.stack([along, np.full(len(along), level)], axis=-1)
        # One wave for all courses, so that they remain one tile apart.
        line[:, 1] += 0.045 * np.sin(9.5 * along + 1) + rng.normal(0, 0.0016, len(along))
        free = np.all([np.hypot(*(line - (x, y)).T) > radius + 0.45 * _PITCH for x, y, radius, _ in _ROSETTES], axis=0)
        centers.append(line[free])
        colors.append(np.tile(np.array(_COLORS[_BANDS[course % len(_BANDS)]], float), (free.sum(), 1)))
    return np.concatenate(centers), np.concatenate(colors)


def _tiles(centers: Floats, size: int) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return the Voronoi cells of `centers`: owner (size, size), rough distance to the edge, offset from the center."""
    axis = (np.arange(size) + 0.5) / size
    nearest, second = np.full((2, size, size), 9.0)
    owner = np.zeros((size, size), np.intp)
    # No cell reaches farther from its center than this, so each center considers only the pixels near it.
    reach = int(np.ceil(2.2 * _PITCH * size)) + 1
    for index, (x, y) in enumerate(centers):
        column, row = int(x * size), int(y * size)
        rows, columns = (
            slice(max(0, row - reach), max(0, row + reach)),
            slice(max(0, column - reach), max(0, column + reach)),
        )
        distance = np.hypot(axis[rows, None] - y, axis[None, columns] - x)
        near, far = nearest[rows, columns], second[rows, columns]
        np.minimum(far, np.maximum(near, distance), out=far)
        owner[rows, columns][distance < near] = index
        np.minimum(near, distance, out=near)
    assert second.max() < 9, "a pixel has fewer than two tiles within reach"
    return owner, (second - nearest) / 2, _pixels(size) - centers[owner]


def _pixels(size: int) -> Floats:
    """Return the middle of each pixel, (size, size, 2) as x, y."""
    axis = (np.arange(size) + 0.5) / size
    return np.stack(np.broadcast_arrays(axis[None, :], axis[:, None]), axis=-1)
