"""Whole photos of a shard dataset as tensors. Does not import Lightning."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tinystyle.data.shards import ShardDataset, evenly_spaced

__all__ = ["held_out_photos", "photo_tensor", "reference_photos", "trained_on"]


def photo_tensor(pixels_hw3: np.ndarray, side: int | None = None) -> Tensor:
    """Convert RGB pixels, (H, W, 3) uint8, to (1, 3, H, W) float32 in 0..255, channels-last.

    Args:
        pixels_hw3: the photo.
        side: short side, in pixels, to which a larger photo is scaled down; None keeps its size.
    """
    height, width = pixels_hw3.shape[:2]
    if side and min(height, width) > side:
        scale = side / min(height, width)
        size = (round(width * scale), round(height * scale))
        pixels_hw3 = np.asarray(Image.fromarray(pixels_hw3).resize(size, Image.Resampling.BICUBIC))
    return (
        torch.from_numpy(np.array(pixels_hw3))
        .permute(2, 0, 1)[None]
        .float()
        .contiguous(memory_format=torch.channels_last)
    )


def trained_on(shards: ShardDataset) -> list[int]:
    """Return the indices of the training photos, or of the held-out ones if all photos are held out."""
    return shards.training or shards.held_out


def held_out_photos(shards: ShardDataset, count: int, side: int | None = None) -> list[Tensor]:
    """Return up to `count` whole held-out photos, each (1, 3, H, W) float32; training photos if none are held out.

    They are evenly spaced in the dataset, RGB in 0..255.

    Args:
        shards: the dataset.
        count: maximum number of photos.
        side: short side, in pixels, to which larger photos are scaled down; None keeps their size.
    """
    return _read(shards, shards.held_out or shards.training, count, side)


def reference_photos(shards: ShardDataset, count: int, side: int | None = None) -> list[Tensor]:
    """Return up to `count` whole training photos; arguments and format are those of `held_out_photos`."""
    return _read(shards, trained_on(shards), count, side)


def _read(shards: ShardDataset, indices: list[int], count: int, side: int | None) -> list[Tensor]:
    return [photo_tensor(shards.read(index), side) for index in evenly_spaced(indices, count)]
