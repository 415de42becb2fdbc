"""`starry-sky`: a swirling night over hills, in the manner of Van Gogh's Starry Night (1889)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tinystyle.styles.builtin.strokes import Canvas, Floats, Ripples, blend, mix, smoothstep, streamlines

__all__ = ["draw"]

# x, y, radius of influence, spin (positive turns clockwise on the screen).
_VORTICES = (
    (0.50, 0.37, 0.150, 1.0),
    (0.70, 0.50, 0.085, -1.0),
    (0.30, 0.60, 0.080, -0.8),
    (0.93, 0.56, 0.080, 0.8),
)
_INFLOW = 0.28
# x, y, radius of the glow.
_STARS = (
    (0.34, 0.10, 0.080),
    (0.57, 0.09, 0.070),
    (0.08, 0.08, 0.060),
    (0.05, 0.33, 0.058),
    (0.33, 0.27, 0.062),
    (0.67, 0.25, 0.066),
    (0.45, 0.62, 0.092),
    (0.94, 0.38, 0.056),
    (0.71, 0.66, 0.050),
    (0.05, 0.58, 0.062),
)
_MOON = (0.85, 0.155, 0.165)

_SKY = ((6, 10, 40), (12, 24, 84), (24, 52, 138), (44, 88, 172), (82, 134, 200), (148, 188, 214), (222, 230, 208))
_DAWN = ((120, 168, 190), (176, 204, 186), (222, 222, 172), (236, 216, 140))
_GLOW = (
    (255, 240, 160),
    (252, 212, 72),
    (238, 206, 96),
    (214, 218, 150),
    (150, 192, 190),
    (70, 122, 184),
    (28, 62, 142),
)
_MOONLIGHT = (
    (252, 196, 48),
    (250, 214, 84),
    (244, 226, 130),
    (212, 220, 156),
    (138, 184, 188),
    (60, 110, 180),
    (26, 56, 136),
)
_HILLS = (
    ((24, 42, 112), (52, 88, 164), (122, 158, 200), (12, 20, 60)),
    ((14, 34, 80), (34, 82, 128), (112, 160, 160), (8, 16, 44)),
    ((8, 28, 40), (34, 80, 70), (150, 160, 84), (6, 12, 26)),
)
_CYPRESS = ((6, 10, 14), (12, 28, 26), (34, 62, 36), (92, 70, 36), (126, 134, 62))


def draw(size: int) -> Image.Image:
    """Draw the picture, RGB (size, size)."""
    rng = np.random.default_rng(1889)
    canvas = Canvas(size, (14, 28, 92))
    _paint_sky(canvas, rng)
    for star in _STARS:
        _paint_glow(canvas, rng, star, _GLOW, core=0.26)
    _paint_glow(canvas, rng, _MOON, _MOONLIGHT, core=0.34)
    _paint_crescent(canvas, rng)
    _paint_hills(canvas, rng)
    _paint_cypress(canvas, rng)
    return canvas.finish(relief=0.36)


def _sky_flow(points: Floats) -> Floats:
    """Return the flow of the sky: a wavy wind from the left, vortices that draw it in, and rings around every light."""
    x, y = points.T
    flow = np.stack([np.ones_like(x), 0.55 * np.sin(2 * np.pi * (1.1 * x + 0.45 * y)) - 0.15], axis=-1)
    for center_x, center_y, radius, spin in _VORTICES:
        away = points - (center_x, center_y)
        distance = np.linalg.norm(away, axis=-1)
        around = np.stack([-away[:, 1], away[:, 0]], axis=-1) * spin - _INFLOW * away
        flow = mix(flow, around / radius * 1.6, np.exp(-((distance / (1.25 * radius)) ** 4)))
    for center_x, center_y, radius in (*_STARS, _MOON):
        away = points - (center_x, center_y)
        around = np.stack([-away[:, 1], away[:, 0]], axis=-1)
        flow = mix(flow, around / radius, smoothstep(1.5, 0.8, np.linalg.norm(away, axis=-1) / radius))
    return flow


def _spiral_arms(points: Floats) -> Floats:
    """Return the tone of spiral arms, -1..1; 0 outside of the vortices.

    Every vortex has three light and three dark arms along the logarithmic spirals of its flow.
    """
    tone = np.zeros(len(points))
    for center_x, center_y, radius, spin in _VORTICES:
        across, down = (points - (center_x, center_y)).T
        distance = np.hypot(across, down) + 1e-9
        phase = np.arctan2(down, across) + np.log(distance / radius) * spin / _INFLOW
        tone += np.cos(3 * phase) * np.exp(-((distance / (1.3 * radius)) ** 4))
    return tone


def _paint_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    bands, grain = Ripples(rng, 7), Ripples(rng, 22)
    for count, width, length in ((1500, 0.026, 0.12), (3200, 0.017, 0.085), (3600, 0.012, 0.06)):
        centers = rng.uniform(-0.04, 1.04, (count, 2))
        # Color runs along the flow: noise averaged along a streamline is nearly constant on it and changes across it.
        tone = bands(streamlines(centers, _sky_flow, 0.4, steps=24)).mean(1) * 1.5
        tone = 0.46 + 0.34 * tone + 0.30 * _spiral_arms(centers) + 0.06 * grain(centers) + rng.normal(0, 0.09, count)
        colors = blend(_SKY, np.clip(tone, 0, 1)) + rng.normal(0, 8, (count, 3))
        # A pale dawn is above the hills, and its warmth reappears in some of the light strokes.
        dawn = np.exp(-(((centers[:, 1] - 0.72 + 0.10 * centers[:, 0]) / 0.05) ** 2))
        colors = mix(colors, blend(_DAWN, rng.uniform(0, 1, count)), 0.8 * dawn * (rng.uniform(size=count) < 0.75))
        warm = (tone > 0.6) & (rng.uniform(size=count) < 0.08)
        colors[warm] = blend(_DAWN, rng.uniform(0.4, 1, warm.sum()))
        paths = streamlines(centers, _sky_flow, length * rng.uniform(0.6, 1.3, count))
        canvas.paint(paths, width * rng.uniform(0.7, 1.25, count), colors, rng)


def _paint_glow(
    canvas: Canvas,
    rng: np.random.Generator,
    light: tuple[float, float, float],
    palette: tuple[tuple[int, int, int], ...],
    core: float,
) -> None:
    """Paint rings of dashes around a light, from its edge inward, then its bright core."""
    x, y, radius = light
    spacing = 0.0125
    for ring in np.arange(radius, core * radius, -spacing):
        count = max(5, int(2 * np.pi * ring / 0.034))
        angle = 2 * np.pi * (np.arange(count) + rng.uniform(0, 1, count) * 0.8) / count
        sweep = np.linspace(-0.5, 0.5, 8) * (0.042 / ring)
        spoke = angle[:, None] + sweep
        distance = ring + rng.normal(0, 0.0025, count)[:, None]
        paths = np.stack([x + distance * np.cos(spoke), y + distance * np.sin(spoke)], axis=-1)
        tone = np.clip(ring / radius + rng.normal(0, 0.09, count), 0.12, 1)
        kept = rng.uniform(size=count) < 1.25 - 0.6 * (ring / radius) ** 3
        canvas.paint(paths[kept], 0.0125, (blend(palette, tone) + rng.normal(0, 8, (count, 3)))[kept], rng)
    for ring in np.arange(core * radius, 0, -spacing * 0.8):
        count = max(3, int(2 * np.pi * ring / 0.02))
        start = rng.uniform() + np.arange(count)[:, None]
        spoke = 2 * np.pi * (start + np.linspace(-0.7, 0.7, 8)) / count
        distance = ring + rng.normal(0, 0.002, count)[:, None]
        paths = np.stack([x + distance * np.cos(spoke), y + distance * np.sin(spoke)], axis=-1)
        tone = np.clip(0.2 * ring / (core * radius) + rng.normal(0, 0.1, count), 0, 0.32)
        canvas.paint(paths, 0.0125, blend(palette, tone) + rng.normal(0, 6, (count, 3)), rng)


def _paint_crescent(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint the crescent of the moon: arcs inside its right rim, closer together toward the horns."""
    x, y, radius = _MOON
    for share in (1.0, 0.8, 0.6, 0.4, 0.2, 0.9):
        spoke = np.linspace(-1.1, 1.1, 6)[:, None] + np.linspace(-0.3, 0.3, 8) + 0.3
        thickness = 0.26 * np.cos(0.75 * (spoke - 0.3))
        ring = radius * (0.44 - thickness * (1 - share))
        paths = np.stack([x + ring * np.cos(spoke), y + ring * np.sin(spoke)], axis=-1)
        colors = blend(((224, 116, 20), (252, 176, 44)), rng.uniform(0, 1, 6)) + rng.normal(0, 8, (6, 3))
        canvas.paint(paths, 0.011, colors, rng)


def _crest(layer: int, x: Floats) -> Floats:
    """Return the height of a range of hills at x, as a y coordinate; layer 0 is the farthest."""
    if layer == 0:
        return np.asarray(0.775 - 0.06 * np.sin(2.3 * x + 4.2) - 0.030 * np.sin(7.5 * x + 0.6))
    if layer == 1:
        return np.asarray(0.845 - 0.035 * np.sin(5.2 * x + 2.2) - 0.016 * np.sin(12 * x))
    return np.asarray(0.915 - 0.024 * np.sin(8.5 * x + 0.5) - 0.012 * np.sin(19 * x + 1))


def _paint_hills(canvas: Canvas, rng: np.random.Generator) -> None:
    for layer, palette in enumerate(_HILLS):

        def along(points: Floats, layer: int = layer) -> Floats:
            x = points[:, 0]
            slope = (_crest(layer, x + 0.01) - _crest(layer, x - 0.01)) / 0.02
            roll = 0.45 * np.sin(2 * np.pi * (4.5 * x + 3 * points[:, 1]) + layer)
            depth = smoothstep(0.0, 0.06, points[:, 1] - _crest(layer, x))
            return np.stack([np.ones_like(x), slope + roll * depth], axis=-1)

        count = 800
        x = rng.uniform(-0.04, 1.04, count)
        centers = np.stack([x, _crest(layer, x) + 0.012 + rng.uniform(0, 0.13, count)], axis=-1)
        centers = centers[np.argsort(centers[:, 1] + rng.normal(0, 0.02, count))]
        tone = np.clip(0.42 + 0.24 * Ripples(rng, 9)(centers) + rng.normal(0, 0.2, count), 0, 1)
        colors = blend(palette[:3], tone) + rng.normal(0, 7, (count, 3))
        canvas.paint(streamlines(centers, along, 0.06), 0.014 * rng.uniform(0.7, 1.2, count), colors, rng)
        ridge = np.linspace(-0.03, 1.03, 30)
        crest = np.stack([ridge, _crest(layer, ridge) + 0.004], axis=-1)
        canvas.paint(streamlines(crest, along, 0.07), 0.011, np.array(palette[3]) + rng.normal(0, 6, (30, 3)), rng)


def _paint_cypress(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a cypress like a dark flame: tongues that rise from one root, from the outermost inward."""
    # x at the root, x at the tip, y of the tip, half width.
    tongues = (
        (0.05, 0.085, 0.52, 0.040),
        (0.25, 0.275, 0.60, 0.042),
        (0.10, 0.125, 0.34, 0.050),
        (0.21, 0.205, 0.40, 0.050),
        (0.155, 0.165, 0.13, 0.062),
    )
    for root, tip, top, half_width in tongues:
        count = 520
        rise = rng.uniform(0, 1, count) ** 0.8
        body = np.sin(np.pi * np.clip(rise * 0.85 + 0.22, 0, 1)) ** 0.8 * (1 - rise) ** 0.35
        side = rng.uniform(-1, 1, count)
        middle = root + (tip - root) * rise + 0.016 * np.sin(9 * rise + 12 * root)
        centers = np.stack([middle + side * half_width * body, 1.04 + (top - 1.04) * rise], axis=-1)

        def upward(points: Floats, root: float = root) -> Floats:
            lean = 0.34 * np.sin(2 * np.pi * (3.2 * points[:, 1] + 2 * root) + 14 * points[:, 0])
            return np.stack([lean, -np.ones(len(points))], axis=-1)

        tone = np.clip(0.34 + 0.14 * np.sin(40 * side + 3 * rise) + rng.normal(0, 0.2, count), 0, 1)
        colors = blend(_CYPRESS, tone) + rng.normal(0, 5, (count, 3))
        order = np.argsort(-rise, kind="stable")  # from the tip down, so that each stroke's tip is on top
        paths = streamlines(centers, upward, 0.11 - 0.06 * rise)
        canvas.paint(paths[order], 0.0125, colors[order], rng)
