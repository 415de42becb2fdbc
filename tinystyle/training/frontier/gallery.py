"""Writes the gallery as JPEG files: photos, and their stylized versions by each network. Does not write the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from tinystyle.data import storage
from tinystyle.evaluation import Stylize
from tinystyle.training.html import QUALITY
from tinystyle.training.judge import to_image

__all__ = ["SHORT_SIDE", "write_jpeg", "write_pictures"]

SHORT_SIDE = 320
"""Short side of the gallery's pictures, in pixels; small, because a page embeds many of them."""


@torch.inference_mode()
def write_pictures(folder: Path, stem: str, stylize: Stylize, photos: Sequence[Tensor]) -> list[Path]:
    """Stylize photos, each (1, 3, H, W) in 0..255, write them as STEM-1.jpg, STEM-2.jpg, ..., and return the paths."""
    paths = [folder / f"{stem}-{number}.jpg" for number in range(1, len(photos) + 1)]
    for path, photo in zip(paths, photos, strict=True):
        write_jpeg(path, to_image(stylize(photo)))
    return paths


def write_jpeg(path: Path, image: Image.Image) -> None:
    """Write an RGB image as a JPEG of modest size, atomically."""
    with storage.atomic_path(path) as temporary:
        image.save(temporary, format="JPEG", quality=QUALITY, optimize=True, progressive=True)
