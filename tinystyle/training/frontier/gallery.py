"""The pictures of a gallery as JPEG files: photos, and what each network makes of them. Knows nothing of pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from tinystyle.data import storage
from tinystyle.evaluation import Stylise
from tinystyle.training.callbacks import to_image

__all__ = ["SHORT_SIDE", "data_uri", "write_jpeg", "write_pictures"]

SHORT_SIDE = 320
"""Of the pictures, in pixels: a page holds many."""
QUALITY = 80


@torch.inference_mode()
def write_pictures(folder: Path, stem: str, stylize: Stylise, photos: Sequence[Tensor]) -> list[Path]:
    """Write what `stylize` makes of photos, each (1, 3, H, W) in 0..255, as STEM-1.jpg and so on; return the paths."""
    paths = [folder / f"{stem}-{number}.jpg" for number in range(1, len(photos) + 1)]
    for path, photo in zip(paths, photos, strict=True):
        write_jpeg(path, to_image(stylize(photo)))
    return paths


def write_jpeg(path: Path, image: Image.Image) -> None:
    """Write an RGB image as a JPEG of modest size; the file appears atomically."""
    with storage.atomic_path(path) as temporary:
        image.save(temporary, format="JPEG", quality=QUALITY, optimize=True, progressive=True)


def data_uri(path: Path) -> str:
    """Return a .jpg or .png file as a `data:` URI."""
    kind = {".jpg": "jpeg", ".png": "png"}[path.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
