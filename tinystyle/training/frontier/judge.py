"""Measures the quality of style networks: all on the same held-out photos, at the same size, with the same metrics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from tinystyle import __version__, styles
from tinystyle.config import DataConfig, LossConfig, RunConfig
from tinystyle.data.datamodule import PhotoDataModule
from tinystyle.data.ingest import Progress, dataset_for_training
from tinystyle.data.photos import photo_tensor
from tinystyle.data.shards import evenly_spaced
from tinystyle.errors import UserError
from tinystyle.evaluation import Criterion, PaintMeasure, QualityRow, Stylize, quality_rows
from tinystyle.evaluation.model_report import second_measure, second_network
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.training.objective import build_criterion

__all__ = ["DEFAULT_SIDE", "FIGURES", "Judge"]

DEFAULT_SIDE = 384
"""Short side, in pixels, of the photos used for measuring; smaller if the dataset's photos are smaller."""
FIGURES = (
    "content", "paint3", "paint4", "score", "second3", "second4", "worst_photo", "checkerboard", "border_error",
)  # fmt: skip
"""The metrics that a `Judge` measures: names of attributes of both `QualityRow` and `Row`."""


class Judge:
    """Measures the quality of style networks on the same held-out photos, which it keeps in memory.

    Args:
        photos: a shard dataset, or anything that `ingest` accepts.
        loss: loss network, on whose features the metrics are computed, and size of the style image.
        crop: side of the crops that the networks were trained on, in pixels.
        side: short side, in pixels, to which larger photos are scaled down; None means DEFAULT_SIDE, or the dataset's
            if that is smaller.
        max_photos: maximum number of held-out photos, evenly spaced.
        progress: called after each ingested photo.

    Raises:
        UserError: the dataset has no held-out photos, its photos are smaller than `side`, or the photos or the weights
            of the loss network are missing or damaged.
        OSError: the photos cannot be read.
    """

    def __init__(
        self,
        photos: str,
        loss: LossConfig,
        crop: int,
        *,
        side: int | None,
        max_photos: int,
        progress: Progress | None = None,
    ) -> None:
        network = load_perceptual_network(loss.perceptual, loss.perceptual_weights)
        self.source = photos
        self.loss = loss
        # Ingested with the same size as for training; otherwise other photos would be held out.
        dataset = dataset_for_training(photos, crop, progress, ingest_size=DataConfig(size=crop).photo_side)
        self.data = PhotoDataModule(dataset, crop, batch_size=1, seed=0)
        shards = self.data.shards
        if side and side > shards.manifest.size:
            raise UserError(
                f"{photos} holds photos with a short side of {shards.manifest.size} pixels, {side} are needed; "
                "give a smaller `judge_size`"
            )
        if not shards.held_out:
            raise UserError(
                f"{photos} holds no held-out photo (one in twenty is, by the hash of its pixels); give more photos"
            )
        self.side = side or min(DEFAULT_SIDE, shards.manifest.size)
        self.count = min(max_photos, len(shards.held_out))
        second = second_network(loss.perceptual)
        self.second = second.name if second else None
        """Name of a second network, on which paint is measured too: a paint distance that is low only on the loss
        network is overfitted to it. None if there is no second network (see `second_network`)."""
        self.key = _digest(
            dataset=shards.manifest.sha256(),
            side=self.side,
            count=self.count,
            perceptual=network.weights_sha256,
            second=self.second,
            version=__version__,
        )
        self._photos: list[Tensor] | None = None
        self._style: tuple[str, Criterion, PaintMeasure | None] | None = None

    def rows(self, image: str, candidates: Mapping[str, Stylize]) -> list[QualityRow]:
        """Measure functions that stylize a photo, given by name, against the style `image` (path, URI, builtin:NAME).

        Raises:
            UserError: an output contains NaN or infinity.
        """
        if self._photos is None:
            self._photos = self.data.held_out(self.count, self.side)
        criterion, second = self._criteria(image)
        return quality_rows(candidates, self._photos, criterion, second)

    def style_tensor(self, image: str) -> Tensor:
        """Load the style image at the size used in training: (1, 3, H, W), RGB in 0..255."""
        return photo_tensor(styles.load_style(image, self.loss.style_side(self.data.crops.size)))

    def shown(self, count: int, side: int) -> list[tuple[str, Tensor]]:
        """Return up to `count` held-out photos with names, each (1, 3, H, W), short side at most `side` pixels."""
        shards = self.data.shards
        names = [shards.name(index) for index in evenly_spaced(shards.held_out, count)]
        return list(zip(names, self.data.held_out(count, side), strict=True))

    def _criteria(self, image: str) -> tuple[Criterion, PaintMeasure | None]:
        """Return the criterion and the second measure of a style; caches one style, since styles come in sequence."""
        if self._style is None or self._style[0] != image:
            config = RunConfig(
                style=image,
                photos=self.source,
                loss=self.loss,
                data=DataConfig(size=self.data.crops.size),
                precision="32",
            )
            cpu = torch.device("cpu")
            style = styles.Style.load(image)
            criterion = build_criterion(config, self.data, cpu, style)
            self._style = image, criterion, second_measure(style, self.loss.perceptual)
        return self._style[1:]


def _digest(**facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
