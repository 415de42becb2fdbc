"""`wave`: breaking waves as a woodblock print, in the manner of Hokusai's Great Wave off Kanagawa (about 1831)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image

from tinystyle.styles.builtin.strokes import Canvas, Floats, Ripples, mix, ribbons

__all__ = ["draw"]

_INK = (14, 26, 62)
_CREAM = (242, 232, 204)
_BLUES = ((18, 40, 92), (38, 84, 142), (106, 160, 184), (226, 224, 204))
_SAND = (206, 172, 112)
_MIST = (104, 138, 154)


def draw(size: int) -> Image.Image:
    """Draw the picture, RGB (size, size)."""
    rng = np.random.default_rng(1831)
    canvas = Canvas(size, _CREAM)
    _print_sky(canvas, rng)
    _print_great_wave(canvas, rng)
    for swell in range(3):
        _print_swell(canvas, rng, swell)
    return _grain(canvas.finish(), rng)


def _print_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw wind lines whose color changes with height, then the sun."""
    x = np.linspace(-0.05, 1.05, 40)
    for level in np.arange(-0.05, 0.9, 0.021):
        y = level + 0.016 * np.sin(7 * x + 9 * level) + 0.008 * np.sin(17 * x - 21 * level)
        path = np.stack([x, y], axis=-1)[None]
        share = np.array([0.2 + 0.6 * abs(np.sin(4.2 * level + 0.3))])
        canvas.fill(ribbons(path, rng.uniform(0.011, 0.017)), mix(np.array([_SAND]), np.array([_MIST]), share))
    _print_sun(canvas)


def _print_sun(canvas: Canvas) -> None:
    spoke = np.linspace(0, 2 * np.pi, 60)
    circle = np.stack([np.cos(spoke), np.sin(spoke)], axis=-1)
    for step, radius in enumerate(np.arange(0.125, 0.01, -0.0135)):
        color = ((196, 62, 44), (226, 112, 66))[step % 2]
        canvas.fill((np.array((0.80, 0.20)) + radius * circle)[None], np.array([color]))


def _print_great_wave(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw bands that rise from the lower left, arch over and end in foam."""
    # Outer edge (the back of the wave) and inner edge (its hollow face), as control points of smooth curves.
    back = _curve(((-0.10, 0.62), (0.04, 0.44), (0.20, 0.22), (0.38, 0.13), (0.55, 0.17), (0.66, 0.29)))
    face = _curve(((-0.06, 1.05), (0.22, 1.02), (0.36, 0.80), (0.37, 0.58), (0.44, 0.43), (0.60, 0.37)))
    _bands(canvas, back, face, 17)
    rim = ribbons(back[None], 0.030, taper=0.7)
    canvas.fill(ribbons(back[None], 0.044, taper=0.7), np.array([_INK]))
    canvas.fill(rim, np.array([_CREAM]))
    lip = _curve(((0.30, 0.16), (0.48, 0.16), (0.62, 0.25), (0.665, 0.36)))
    inner = _curve(((0.28, 0.30), (0.42, 0.27), (0.54, 0.33), (0.60, 0.40)))
    _foam(canvas, rng, back[4:], count=30, reach=0.075, turn=1.0)
    _foam(canvas, rng, inner, count=24, reach=0.115, turn=-1.0)
    _foam(canvas, rng, lip, count=34, reach=0.130, turn=1.0)
    _spray(canvas, rng, (0.70, 0.42), 0.16, 110)


def _print_swell(canvas: Canvas, rng: np.random.Generator, swell: int) -> None:
    """Draw one of the waves in front, from 0, the farthest, to 2, the nearest."""
    x = np.linspace(-0.06, 1.06, 48)
    crest = (0.74, 0.83, 0.93)[swell] - (0.085, 0.060, 0.045)[swell] * np.sin(
        (4.6, 6.1, 7.4)[swell] * x + (3.4, 1.0, 3.0)[swell]
    )
    crest = crest - (0.10 * x, 0, 0)[swell]
    top = np.stack([x, crest], axis=-1)
    bottom = np.stack([x - 0.05, crest * 0.35 + 0.78], axis=-1)
    _bands(canvas, top, bottom, 9)
    canvas.fill(ribbons(top[None], 0.034, taper=0.8), np.array([_INK]))
    canvas.fill(ribbons(top[None], 0.022, taper=0.8), np.array([_CREAM]))
    _foam(canvas, rng, top, count=48, reach=0.065, turn=-1.0)


def _bands(canvas: Canvas, first: Floats, last: Floats, count: int) -> None:
    """Fill the surface between two curves (N, 2) with bands in the wave's blues, each with an inked edge."""
    share = np.linspace(0, 1, count * 3 + 1)
    # Bands swell and thin along their way, like lines cut by a carver.
    along = np.linspace(0, 1, len(first))
    edges = [
        mix(first, last, np.clip(s + 0.35 / count * np.sin(9 * along + 11 * s) * (0 < s < 1), 0, 1)) for s in share
    ]
    for index, (upper, lower) in enumerate(pairwise(edges)):
        color = (_BLUES[0], _BLUES[1 + (index // 3) % 2], _BLUES[3])[index % 3]
        canvas.fill(np.concatenate([upper, lower[::-1]])[None], np.array([color]))


def _foam(canvas: Canvas, rng: np.random.Generator, curve: Floats, count: int, reach: float, turn: float) -> None:
    """Draw claws of foam along a curve: curling tapered fingers, cream with an ink outline."""
    place = np.linspace(0, len(curve) - 1.001, count) + rng.uniform(-0.3, 0.3, count)
    place = np.clip(place, 0, len(curve) - 1.001)
    index = place.astype(int)
    roots = mix(curve[index], curve[index + 1], place - index)
    ahead = curve[index + 1] - curve[index]
    heading = np.arctan2(ahead[:, 1], ahead[:, 0]) - turn * rng.uniform(-0.2, 1.0, count)
    steps = 12
    bend = turn * rng.uniform(1.6, 3.4, count)[:, None] * np.linspace(0, 1, steps) ** 1.5
    length = reach * rng.uniform(0.6, 1.2, count)
    direction = np.stack([np.cos(heading[:, None] + bend), np.sin(heading[:, None] + bend)], axis=-1)
    paths = roots[:, None] + np.cumsum(direction, axis=1) * (length / steps)[:, None, None]
    outer = ribbons(paths, 0.36 * length + 0.006, taper=0.12)
    inner = ribbons(paths, 0.24 * length, taper=0.12)
    vein = ribbons(paths[:, 2:8], 0.05 * length, shift=1.2)
    outlines = np.stack([outer, inner], axis=1).reshape(2 * count, -1, 2)
    canvas.fill(outlines, np.tile(np.array([_INK, _CREAM]), (count, 1)))
    canvas.fill(vein, np.tile(np.array([_BLUES[1]]), (count, 1)))


def _spray(canvas: Canvas, rng: np.random.Generator, center: tuple[float, float], spread: float, count: int) -> None:
    spoke = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    circle = np.stack([np.cos(spoke), np.sin(spoke)], axis=-1)
    drops = np.array(center) + spread * rng.normal(0, 0.6, (count, 2))
    radius = rng.uniform(0.003, 0.0085, count)[:, None, None]
    canvas.fill(drops[:, None] + (radius + 0.0025) * circle, np.tile(np.array([_INK]), (count, 1)))
    canvas.fill(drops[:, None] + radius * circle, np.tile(np.array([_CREAM]), (count, 1)))


def _curve(points: tuple[tuple[float, float], ...], steps: int = 48) -> Floats:
    """Return a smooth curve through `points`, (steps, 2), by Catmull-Rom splines."""
    p = np.array([points[0], *points, points[-1]], float)
    t = np.linspace(0, len(points) - 1.0001, steps)
    i, u = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return np.asarray(0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3))


def _grain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add the grain of the wood: long horizontal streaks where the block took less ink."""
    size = picture.width
    axis = (np.arange(size) + 0.5) / size
    points = np.stack(np.broadcast_arrays(axis[None, :] * 0.08, axis[:, None]), axis=-1)
    streaks = Ripples(rng, 45, waves=24)(points)
    lit = np.asarray(picture, float) + (7 * streaks)[..., None]
    return Image.fromarray(np.clip(np.rint(lit), 0, 255).astype(np.uint8))
