"""Training crops and held-out photos of a shard dataset.

The crop at a global sample index depends on (seed, index) alone, not on earlier samples or the number of processes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tinystyle.data import MAX_REDUCTION
from tinystyle.data.photos import held_out_photos, trained_on
from tinystyle.data.processes import die_with_parent
from tinystyle.data.shards import ShardDataset
from tinystyle.errors import UserError

__all__ = ["CropDataset", "GlobalBatches", "PhotoDataModule"]

# Keys that separate the random generators of the order and of the augmentation.
ORDER, AUGMENTATION = 0, 1


class CropDataset(Dataset[Tensor]):
    """Endless dataset of square training crops (3, size, size), RGB, uint8, by global sample index.

    Sample i comes from photo `permutation(seed, i // n)[i % n]` of the n training photos. It is a random square whose
    side is log-uniform from `size / zoom` to `MAX_REDUCTION * size`, but at most the photo's short side; it is resized
    to `size`, and mirrored with probability 1/2.

    Args:
        shards: the dataset.
        size: side of the crops in pixels.
        seed: random seed of order and augmentation.
        zoom: largest factor by which a crop is enlarged, at least 1.
    """

    def __init__(self, shards: ShardDataset, size: int, seed: int, zoom: float = 1.0) -> None:
        self.shards = shards
        self.size = size
        self.seed = seed
        self.sides = max(1, round(size / zoom)), MAX_REDUCTION * size
        self.indices = trained_on(shards)
        self._order: tuple[int, np.ndarray] | None = None

    def __getitem__(self, sample: int) -> Tensor:
        photo = self.shards.read(self._photo_of(sample))
        random = np.random.default_rng((self.seed, AUGMENTATION, sample))
        height, width = photo.shape[:2]
        least, most = (min(side, height, width) for side in self.sides)
        side = min(most, round(float(np.exp(random.uniform(np.log(least), np.log(most))))))
        left, top = (int(random.integers(0, length - side, endpoint=True)) for length in (width, height))
        box = (left, top, left + side, top + side)
        # Bilinear enlargement would leave a grid of creases.
        kind = Image.Resampling.BICUBIC if side < self.size else Image.Resampling.BILINEAR
        crop = Image.fromarray(photo).resize((self.size, self.size), kind, box=box, reducing_gap=None)
        pixels = np.asarray(crop)
        if random.random() < 0.5:
            pixels = pixels[:, ::-1]
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def _photo_of(self, sample: int) -> int:
        epoch, position = divmod(sample, len(self.indices))
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, ORDER, epoch)).permutation(len(self.indices))
        return self.indices[int(self._order[1][position])]


class GlobalBatches(Sampler[list[int]]):
    """Yields this process's part of each global batch, from `first_step` on, without end: one epoch for Lightning.

    A batch is a list of global sample indices, of length `batch_size / world_size`.

    Args:
        first_step: number of steps that are done already.
        batch_size: photos per step over all processes.
        rank: number of this process.
        world_size: number of processes.
        photos_after: number of steps -> photos in so many first steps, if batches differ in size; multiples of
            `batch_size`.

    Raises:
        UserError: `batch_size` is not a multiple of `world_size`.
    """

    def __init__(
        self,
        first_step: int,
        batch_size: int,
        rank: int,
        world_size: int,
        photos_after: Callable[[int], int] | None = None,
    ) -> None:
        if batch_size % world_size:
            raise UserError(f"the batch size {batch_size} must be a multiple of the {world_size} processes")
        self.first_step, self.rank, self.world_size = first_step, rank, world_size
        self.photos_after = photos_after or (lambda step: step * batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for step in itertools.count(self.first_step):
            first = self.photos_after(step)
            share = (self.photos_after(step + 1) - first) // self.world_size
            yield list(range(first + self.rank * share, first + (self.rank + 1) * share))


class PhotoDataModule(L.LightningDataModule):
    """Training batches of a shard dataset, (batch size / processes, 3, size, size) uint8 RGB, and its whole photos.

    Args:
        path: a local shard dataset.
        size: side of the crops in pixels; the dataset's photos must be at least as large.
        batch_size: photos per step over all processes.
        seed: random seed of order and augmentation.
        zoom: see `CropDataset`.
        workers: number of decoding processes; 0 decodes in the training process.
        photos_after: see `GlobalBatches`.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        batch_size: int,
        seed: int,
        *,
        zoom: float = 1.0,
        workers: int = 0,
        photos_after: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__()
        self.shards = ShardDataset(path)
        self.crops = CropDataset(self.shards, size, seed, zoom)
        self.batch_size = batch_size
        self.workers = workers
        self.photos_after = photos_after

    def train_dataloader(self) -> DataLoader[Tensor]:
        assert self.trainer is not None
        sampler = GlobalBatches(
            self.trainer.global_step,
            self.batch_size,
            self.trainer.global_rank,
            self.trainer.world_size,
            self.photos_after,
        )
        return DataLoader(
            self.crops,
            batch_sampler=sampler,
            num_workers=self.workers,
            pin_memory=self.workers > 0 and torch.cuda.is_available(),
            worker_init_fn=_in_decoding_process if self.workers else None,
        )

    def held_out(self, count: int, side: int | None = None) -> list[Tensor]:
        """Return up to `count` whole held-out photos, each (1, 3, H, W) float32; see `photos.held_out_photos`."""
        return held_out_photos(self.shards, count, side)


def _in_decoding_process(_: int) -> None:
    die_with_parent()
