"""The rows of a table of results: a network's losses, paint and artifacts, beside those of two trivial answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import torch
from torch import Tensor

from tinystyle.errors import UserError
from tinystyle.evaluation.artefacts import border_error, checkerboard_energy
from tinystyle.evaluation.collapsed import NOT_FINITE, bad_blocks
from tinystyle.evaluation.criterion import Criterion, PhotoFeatures, Scores
from tinystyle.evaluation.paint import PaintMeasure, picture_score

__all__ = [
    "REFERENCE_PHOTOS",
    "LossRow",
    "QualityRow",
    "Stylise",
    "beside_trivial",
    "color_match",
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


def color_match(style_13hw: Tensor) -> Stylise:
    """A function that gives a photo the style image's mean and deviation of each channel: the trivial stylisation."""
    style_std, style_mean = torch.std_mean(style_13hw, (2, 3), keepdim=True)

    def recolor(photo_b3hw: Tensor) -> Tensor:
        std, mean = torch.std_mean(photo_b3hw, (2, 3), keepdim=True)
        return ((photo_b3hw - mean) / std.clamp_min(1e-3) * style_std + style_mean).clamp(0, 255)

    return recolor


def beside_trivial(name: str, stylise: Stylise, style_13hw: Tensor) -> dict[str, Stylise]:
    """What every table of results has: `identity`, `color match` with a style image (RGB 0..255), and `stylise`."""
    return {"identity": identity, "color match": color_match(style_13hw), name: stylise}


@dataclass(frozen=True)
class LossRow:
    """Means over photos: one row of every table of results."""

    name: str
    content: float
    style: float
    total: float
    paint3: float
    paint4: float
    score: float
    """`paint.picture_score` of the means: what decides which checkpoint is the best."""
    bad_blocks: float
    """Share in 0..1, mean over the photos."""
    worst_photo: float
    """The largest share of bad blocks of a photo."""

    def as_dict(self) -> dict[str, float | str | None]:
        return asdict(self)


@dataclass(frozen=True)
class QualityRow(LossRow):
    """Means over photos, with artifacts, and paint by a second network."""

    checkerboard: float
    """`checkerboard_energy`, the photo's being 1."""
    border_error: float
    """In gray levels."""
    second3: float | None
    second4: float | None
    """paint3 and paint4 on the features of a network that training does not see; None where there is none."""


@torch.no_grad()
def loss_row(
    name: str,
    stylise: Stylise,
    photos: Sequence[Tensor],
    criterion: Criterion,
    features: Sequence[PhotoFeatures] | None = None,
) -> LossRow:
    """Means of `stylise` over `photos`, each (1, 3, H, W).

    Args:
        features: of the photos, where the caller keeps them.
    """
    features = features or [criterion.photo_features(photo) for photo in photos]
    means = _Means(criterion)
    for photo, known in zip(photos, features, strict=True):
        output = stylise(photo)
        means.add(criterion.scores(output, known), bad_blocks(output, photo).item())
    return LossRow(name, **means.of_losses())


@torch.no_grad()
def quality_rows(
    candidates: Mapping[str, Stylise],
    photos: Iterable[Tensor],
    criterion: Criterion,
    second: PaintMeasure | None = None,
) -> list[QualityRow]:
    """The rows of several functions, in one pass over `photos`, each (1, 3, H, W).

    Args:
        second: the measure on a network of which the losses know nothing.

    Raises:
        ValueError: an output is not finite.
    """
    means = {name: _Means(criterion) for name in candidates}
    for photo in photos:
        features = criterion.photo_features(photo)
        untouched = second.of(photo) if second else None
        for name, stylise in candidates.items():
            output = stylise(photo)
            if not torch.isfinite(output).all():
                raise UserError(f"{name}: {NOT_FINITE}; train it again")
            grid, border = checkerboard_energy(output, photo), border_error(stylise, photo, output)
            others = [grid.item(), border.item()]
            if second and untouched is not None:
                others += PaintMeasure.scores(second.of(output), untouched)
            means[name].add(criterion.scores(output, features), bad_blocks(output, photo).item(), *others)
    rows = []
    for name, found in means.items():
        grid_mean, border_mean, second3, second4 = found.of_others()
        losses = found.of_losses()
        rows.append(
            QualityRow(
                name, **losses, checkerboard=grid_mean, border_error=border_mean, second3=second3, second4=second4
            )
        )
    return rows


class _Means:
    """The scores of one function on photo after photo, and their means."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion
        self.scores: list[Scores] = []
        self.bad_blocks: list[float] = []
        self.others: list[tuple[float, ...]] = []

    def add(self, scores: Scores, bad_blocks: float, *others: float) -> None:
        self.scores.append(scores)
        self.bad_blocks.append(bad_blocks)
        self.others.append(others)

    def of_losses(self) -> dict[str, float]:
        mean = {
            name: fmean(getattr(scores, name) for scores in self.scores)
            for name in ("content", "style", "paint3", "paint4")
        }
        total = self.criterion.content_weight * mean["content"] + self.criterion.style_weight * mean["style"]
        return {
            **mean,
            "total": total,
            "score": picture_score(mean["content"], mean["paint3"], mean["paint4"]),
            "bad_blocks": fmean(self.bad_blocks),
            "worst_photo": max(self.bad_blocks),
        }

    def of_others(self) -> tuple[float, float, float | None, float | None]:
        """Checkerboard, border error, and where there is a second measure its paint3 and paint4."""
        grid, border, *second = (fmean(values) for values in zip(*self.others, strict=True))
        return (grid, border, second[0], second[1]) if second else (grid, border, None, None)
