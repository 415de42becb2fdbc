"""The rows of a table of results: losses, paint and artifacts of a network and of the two baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import torch
from torch import Tensor

from tinystyle.errors import UserError
from tinystyle.evaluation.artifacts import border_error, checkerboard_energy
from tinystyle.evaluation.collapsed import NOT_FINITE, bad_blocks
from tinystyle.evaluation.criterion import Criterion, PhotoFeatures, Scores
from tinystyle.evaluation.flicker import flicker
from tinystyle.evaluation.paint import PaintMeasure, picture_score

__all__ = [
    "LossRow",
    "PhotoScores",
    "QualityRow",
    "Stylize",
    "beside_trivial",
    "color_match",
    "identity",
    "judge_photos",
    "loss_row",
    "quality_rows",
]

Stylize = Callable[[Tensor], Tensor]
"""A function from a photo (1, 3, H, W) to an output of the same shape, both float32 RGB in 0..255."""


def identity(photo_b3hw: Tensor) -> Tensor:
    """Return the photo itself, a baseline with style loss 1 and content loss 0."""
    return photo_b3hw


def color_match(style_13hw: Tensor) -> Stylize:
    """Return the color matching baseline: it gives each channel the mean and standard deviation of the style image.

    Args:
        style_13hw: the style image, RGB in 0..255.
    """
    style_std, style_mean = torch.std_mean(style_13hw, (2, 3), keepdim=True)

    def recolor(photo_b3hw: Tensor) -> Tensor:
        std, mean = torch.std_mean(photo_b3hw, (2, 3), keepdim=True)
        return ((photo_b3hw - mean) / std.clamp_min(1e-3) * style_std + style_mean).clamp(0, 255)

    return recolor


def beside_trivial(name: str, stylize: Stylize, style_13hw: Tensor) -> dict[str, Stylize]:
    """Return three functions by name: the baselines `identity` and `color match`, and `stylize` under the name `name`.

    `style_13hw` is the style image, RGB in 0..255.
    """
    return {"identity": identity, "color match": color_match(style_13hw), name: stylize}


@dataclass(frozen=True)
class LossRow:
    """Losses and metrics of one function, as means over photos; one row of a table of results."""

    name: str
    content: float
    style: float
    total: float
    paint3: float
    paint4: float
    score: float
    """`paint.picture_score` of the means; determines the best checkpoint."""
    bad_blocks: float
    """Fraction of bad blocks in 0..1, averaged over the photos."""
    worst_photo: float
    """Highest fraction of bad blocks in any photo, in 0..1."""

    def as_dict(self) -> dict[str, float | str | None]:
        return asdict(self)


@dataclass(frozen=True)
class QualityRow(LossRow):
    """A `LossRow` with artifacts, and with paint3 and paint4 on a second network."""

    checkerboard: float
    """Mean `checkerboard_energy`; 1 for the photo."""
    border_error: float
    """Mean border error, in gray levels."""
    flicker: float
    """Mean `flicker`, in gray levels."""
    second3: float | None
    second4: float | None
    """second3 and second4 are paint3 and paint4 on a network that was not used in training; None if there is none."""


@torch.no_grad()
def loss_row(
    name: str,
    stylize: Stylize,
    photos: Sequence[Tensor],
    criterion: Criterion,
    features: Sequence[PhotoFeatures] | None = None,
    outputs: Sequence[Tensor] | None = None,
) -> LossRow:
    """Return the mean losses of `stylize` over `photos`, each (1, 3, H, W).

    Args:
        name: name of the row.
        stylize: the function to evaluate.
        photos: RGB in 0..255.
        criterion: computes the scores.
        features: features of the photos, if the caller has cached them.
        outputs: results of `stylize` for the photos, if the caller has them.
    """
    features = features or [criterion.photo_features(photo) for photo in photos]
    means = PhotoScores(criterion)
    for index, (photo, known) in enumerate(zip(photos, features, strict=True)):
        output = outputs[index] if outputs else stylize(photo)
        means.add(criterion.scores(output, known), bad_blocks(output, photo).item())
    return LossRow(name, **means.of_losses())


def quality_rows(
    candidates: Mapping[str, Stylize],
    photos: Iterable[Tensor],
    criterion: Criterion,
    second: PaintMeasure | None = None,
) -> list[QualityRow]:
    """Return the rows of several functions; the arguments and errors are those of `judge_photos`."""
    return [found.row(name) for name, found in judge_photos(candidates, photos, criterion, second).items()]


@torch.no_grad()
def judge_photos(
    candidates: Mapping[str, Stylize],
    photos: Iterable[Tensor],
    criterion: Criterion,
    second: PaintMeasure | None = None,
) -> dict[str, PhotoScores]:
    """Score every photo under several functions, in one pass over `photos`, each (1, 3, H, W).

    Args:
        candidates: the functions to evaluate, by name.
        photos: RGB in 0..255.
        criterion: computes the scores.
        second: paint measure on a network that the losses do not use.

    Raises:
        UserError: an output contains NaN or infinity.
    """
    means = {name: PhotoScores(criterion) for name in candidates}
    for photo in photos:
        features = criterion.photo_features(photo)
        untouched = second.of(photo) if second else None
        for name, stylize in candidates.items():
            output = stylize(photo)
            if not torch.isfinite(output).all():
                raise UserError(f"{name}: {NOT_FINITE}; train it again")
            grid, border = checkerboard_energy(output, photo), border_error(stylize, photo, output)
            others = [grid.item(), border.item(), flicker(stylize, photo, output).item()]
            if second and untouched is not None:
                others += PaintMeasure.scores(second.of(output), untouched)
            means[name].add(criterion.scores(output, features), bad_blocks(output, photo).item(), *others)
    return means


class PhotoScores:
    """Collects the scores of one function for each photo, and averages them."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion
        self.scores: list[Scores] = []
        self.bad_blocks: list[float] = []
        self.others: list[tuple[float, ...]] = []

    def add(self, scores: Scores, bad_blocks: float, *others: float) -> None:
        self.scores.append(scores)
        self.bad_blocks.append(bad_blocks)
        self.others.append(others)

    def row(self, name: str) -> QualityRow:
        """Return the means as a row of a table."""
        grid, border, restless, second3, second4 = self.of_others()
        return QualityRow(
            name,
            **self.of_losses(),
            checkerboard=grid,
            border_error=border,
            flicker=restless,
            second3=second3,
            second4=second4,
        )

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

    def of_others(self) -> tuple[float, float, float, float | None, float | None]:
        """Return the means of checkerboard, border error, flicker and, of a second measure, paint3 and paint4."""
        grid, border, restless, *second = (fmean(values) for values in zip(*self.others, strict=True))
        return (grid, border, restless, *(second or (None, None)))
