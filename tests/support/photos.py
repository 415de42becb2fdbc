"""Synthetic photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image

__all__ = ["synthetic_photo"]


def synthetic_photo(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """A smooth random color field with some noise: no photograph, but none of its blocks is flat."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = random.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))
