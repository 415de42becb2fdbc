"""The rows of a table of results: a network's losses and artefacts, beside those of two trivial answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tinystyle.evaluation.artefacts import border_error, checkerboard_energy
from tinystyle.evaluation.collapsed import NOT_FINITE, bad_blocks
from tinystyle.perceptual.losses import Losses

__all__ = [
    "REFERENCE_PHOTOS",
    "LossRow",
    "QualityRow",
    "Stylise",
    "beside_trivial",
    "colour_match",
    "identity",
    "loss_row",
    "quality_rows",
]

REFERENCE_PHOTOS = 64
"""Training photos over which the denominator of the style loss is averaged (`perceptual.losses.StyleTarget`)."""

Stylise = Callable[[Tensor], Tensor]
"""A photo (1, 3, H, W) to an output of the same shape, RGB 0..255, float32."""


def identity(photo_b3hw: Tensor) -> Tensor:
    """The photo itself: style loss 1, content loss 0."""
    return photo_b3hw


def colour_match(style_13hw: Tensor) -> Stylise:
    """A function that gives a photo the style image's mean and deviation of each channel: the trivial stylisation."""
    style_std, style_mean = torch.std_mean(style_13hw, (2, 3), keepdim=True)

    def recolour(photo_b3hw: Tensor) -> Tensor:
        std, mean = torch.std_mean(photo_b3hw, (2, 3), keepdim=True)
        return ((photo_b3hw - mean) / std.clamp_min(1e-3) * style_std + style_mean).clamp(0, 255)

    return recolour


def beside_trivial(name: str, stylise: Stylise, style_13hw: Tensor) -> dict[str, Stylise]:
    """What every table of results has: `identity`, `colour match` with a style image (RGB 0..255), and `stylise`."""
    return {"identity": identity, "colour match": colour_match(style_13hw), name: stylise}


@dataclass(frozen=True)
class LossRow:
    """Mean losses over photos: one row of every table of results."""

    name: str
    content: float
    style: float
    total: float
    bad_blocks: float
    """Share in 0..1, mean over the photos."""
    worst_photo: float
    """The largest share of bad blocks of a photo."""

    def as_dict(self) -> dict[str, float | str]:
        return asdict(self)


@dataclass(frozen=True)
class QualityRow(LossRow):
    """Mean losses and artefacts over photos."""

    checkerboard: float
    """`checkerboard_energy`, the photo's being 1."""
    border_error: float
    """In grey levels."""


@torch.no_grad()
def loss_row(
    name: str,
    stylise: Stylise,
    photos: Sequence[Tensor],
    losses: Losses,
    content_weight: float,
    style_weight: float,
) -> LossRow:
    """Mean losses of `stylise` over `photos`, each (1, 3, H, W); total is content_weight * content + style_weight * style."""
    scores = [_losses(stylise(photo), photo, losses) for photo in photos]
    return LossRow(name, *_means(scores, content_weight, style_weight))


@torch.no_grad()
def quality_rows(
    candidates: Mapping[str, Stylise],
    photos: Iterable[Tensor],
    losses: Losses,
    content_weight: float,
    style_weight: float,
) -> list[QualityRow]:
    """The rows of several functions, in one pass over `photos`, each (1, 3, H, W); totals as in `loss_row`.

    Raises:
        ValueError: an output is not finite.
    """
    scores: dict[str, list[tuple[float, ...]]] = {name: [] for name in candidates}
    artefacts: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for photo in photos:
        for name, stylise in candidates.items():
            output = stylise(photo)
            if not torch.isfinite(output).all():
                raise ValueError(f"{name}: {NOT_FINITE}; train it again")
            scores[name].append(_losses(output, photo, losses))
            grid, border = checkerboard_energy(output, photo), border_error(stylise, photo, output)
            artefacts[name].append((grid.item(), border.item()))
    return [
        QualityRow(name, *_means(scores[name], content_weight, style_weight), *map(_mean, zip(*rows, strict=True)))
        for name, rows in artefacts.items()
    ]


def _losses(output_13hw: Tensor, photo_13hw: Tensor, losses: Losses) -> tuple[float, float, float]:
    """Content loss, style loss, share of bad blocks."""
    content, style = losses(output_13hw, photo_13hw)
    return content.item(), style.item(), bad_blocks(output_13hw, photo_13hw).item()


def _means(
    scores: Sequence[tuple[float, ...]], content_weight: float, style_weight: float
) -> tuple[float, float, float, float, float]:
    """Content, style, total, bad blocks, worst photo."""
    content, style, bad = zip(*scores, strict=True)
    total = content_weight * _mean(content) + style_weight * _mean(style)
    return _mean(content), _mean(style), total, _mean(bad), max(bad)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
