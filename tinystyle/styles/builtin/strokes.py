"""Brush strokes on a canvas: streamlines of a direction field, drawn as tapered ribbons of oil that catches the light.

Picture coordinates run from 0 to 1, x to the right and y down, so a picture is the same at every size. Does not depend
on any style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["Canvas", "Field", "Floats", "Ripples", "blend", "mix", "ribbons", "smoothstep", "streamlines"]

Floats = NDArray[np.float64]
Field = Callable[[Floats], Floats]
"""Function from points (N, 2) to directions (N, 2) of any length."""

_SUPERSAMPLING = 2


class Ripples:
    """Smooth random scalar field: plane waves of random direction, about `frequency` periods across the picture."""

    def __init__(self, rng: np.random.Generator, frequency: float, waves: int = 20) -> None:
        angle, phase = rng.uniform(0, 2 * np.pi, (2, waves))
        length = 2 * np.pi * frequency * rng.uniform(0.6, 1.4, waves)
        self._waves = np.stack([length * np.cos(angle), length * np.sin(angle), phase], axis=-1).tolist()

    def __call__(self, points: Floats) -> Floats:
        """Map points (..., 2) to values (...) with mean 0 and standard deviation of about 1."""
        x, y = points[..., 0], points[..., 1]
        total = np.zeros(points.shape[:-1])
        for across, down, phase in self._waves:  # one by one, because the points may be every pixel of a large picture
            total += np.cos(across * x + down * y + phase)
        return np.asarray(total * np.sqrt(2 / len(self._waves)))


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """Return 0 below `low`, 1 above `high`, and a smooth step in between (reversed if `low` is above `high`)."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def mix(first: Floats, second: Floats, share: Floats) -> Floats:
    """Interpolate from `first` (N, C) where `share` (N,) is 0 to `second` where it is 1."""
    return np.asarray(first + (second - first) * share[:, None])


def blend(palette: Sequence[tuple[int, int, int]], position: Floats) -> Floats:
    """Return colors (N, 3) at `position` (N,), from 0 for the first color of the palette to 1 for the last."""
    stops = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(position, stops, channel) for channel in np.array(palette, float).T], axis=-1)


def streamlines(centers: Floats, field: Field, length: float | Floats, steps: int = 10) -> Floats:
    """Follow `field` from `centers` (N, 2) for half of `length` both ways, and return the paths (N, steps, 2)."""
    stride = (np.broadcast_to(length, len(centers)) / (steps - 1))[:, None]

    def follow(sign: float, count: int) -> list[Floats]:
        points, path = centers, []
        for _ in range(count):
            middle = points + sign * 0.5 * stride * _unit(field(points))
            points = points + sign * stride * _unit(field(middle))
            path.append(points)
        return path

    back = (steps - 1) // 2
    return np.stack([*follow(-1, back)[::-1], centers, *follow(1, steps - 1 - back)], axis=1)


def ribbons(paths: Floats, widths: float | Floats, shift: float = 0, taper: float = 0.35) -> Floats:
    """Return the outlines (N, 2 * steps, 2) of ribbons along `paths` (N, steps, 2) that are thinner at both ends.

    `taper` is the width at the ends as a fraction of the full width; `shift` moves a ribbon sideways, in half widths.
    """
    steps = paths.shape[1]
    tangent = np.gradient(paths, axis=1)
    normal = _unit(np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1))
    profile = taper + (1 - taper) * np.sin(np.linspace(0, np.pi, steps)) ** 0.6
    half = 0.5 * np.broadcast_to(np.asarray(widths), len(paths))[:, None, None] * normal
    side = half * profile[:, None]
    middle = paths + shift * side
    return np.concatenate([middle + side, (middle - side)[:, ::-1]], axis=1)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


class Canvas:
    """A square picture in the making: its color, and the height of its paint."""

    def __init__(self, size: int, ground: tuple[int, int, int]) -> None:
        self._size = size
        self._side = size * _SUPERSAMPLING
        self._color = Image.new("RGB", (self._side, self._side), ground)
        self._height = Image.new("L", (self._side, self._side), 90)
        self._draw_color = ImageDraw.Draw(self._color)
        self._draw_height = ImageDraw.Draw(self._height)

    def fill(self, outlines: Floats, colors: Floats, heights: Floats | None = None) -> None:
        """Fill polygons (N, points, 2) in order with `colors` (N, 3), 0..255."""
        # Whole pixels, so that a last-bit difference between processors' sines does not change the picture.
        corners = np.rint(outlines * self._side).astype(int).reshape(len(outlines), -1).tolist()
        inks = np.clip(np.rint(colors), 0, 255).astype(int).tolist()
        levels = [None] * len(corners) if heights is None else np.clip(heights, 0, 255).astype(int).tolist()
        for corner, ink, level in zip(corners, inks, levels, strict=True):
            self._draw_color.polygon(corner, fill=tuple(ink))
            if level is not None:
                self._draw_height.polygon(corner, fill=level)

    def paint(self, paths: Floats, widths: float | Floats, colors: Floats, rng: np.random.Generator) -> None:
        """Paint brush strokes along `paths` (N, steps, 2): ribbons with bristle marks in lighter and darker paint."""
        count = len(paths)
        layers, inks, heights = [], [], []
        base = rng.uniform(60, 120, count)
        for shift, share, tone, rise in (
            (0.0, 1.0, 0.0, 0.0),
            (-0.5, 0.34, 16.0, 60.0),
            (0.45, 0.3, -14.0, 25.0),
            (0.0, 0.25, 6.0, 85.0),
        ):
            layers.append(ribbons(paths, np.broadcast_to(widths, count) * share, shift / share))
            inks.append(colors + tone * rng.uniform(0.3, 1.5, count)[:, None])
            heights.append(base + rise)
        # Stroke by stroke, not layer by layer: a stroke covers all strokes before it.
        self.fill(
            np.stack(layers, 1).reshape(count * 4, -1, 2),
            np.stack(inks, 1).reshape(count * 4, 3),
            np.stack(heights, 1).reshape(-1),
        )

    def finish(self, relief: float = 0.0) -> Image.Image:
        """Return the picture at its final size; `relief` over 0 lights the paint from the upper left."""
        size = (self._size, self._size)
        picture = self._color.resize(size, Image.Resampling.LANCZOS)
        if relief == 0:
            return picture
        height = np.asarray(self._height.resize(size, Image.Resampling.BOX), np.float32)
        down, right = np.gradient(height, axis=0), np.gradient(height, axis=1)
        # Slopes are per pixel: scale them so that the light is equally strong at every size.
        light = 1 + relief * np.clip((down + right) * (self._size / 512) / 64, -1, 1)
        return Image.fromarray(np.clip(np.rint(np.asarray(picture) * light[..., None]), 0, 255).astype(np.uint8))
