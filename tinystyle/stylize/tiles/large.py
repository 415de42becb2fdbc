"""The way of a large photo from its file to its stylized version, in bounded memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tinystyle.errors import UserError
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.stylize import formats
from tinystyle.stylize.metadata import Metadata
from tinystyle.stylize.render import blend
from tinystyle.stylize.stroke_size import add_edges, reduced_size
from tinystyle.stylize.tiles.bands import Pixels, Resized, resized
from tinystyle.stylize.tiles.decode import LargePicture, image_in
from tinystyle.stylize.tiles.layers import scratch_bytes, stylize_tiles
from tinystyle.stylize.tiles.scratch import Mapping, Region, Scratch, tiles

__all__ = ["LargeResult", "check_disk", "stylize_large"]

_PICTURES = 4 + 3 + 3 + 4
"""Bytes of temporary files per pixel: as decoded, as sRGB, stylized, and as it is encoded."""


@dataclass(frozen=True)
class LargeResult:
    """A stylized picture in a temporary file."""

    mapping: Mapping
    mode: str
    metadata: Metadata

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        height, width, _ = self.mapping.pixels.shape
        return width, height

    def image(self) -> Image.Image:
        """Return the picture as an image whose pixels are in the temporary file."""
        return image_in(self.mapping, self.mode, self.size)

    def save(self, file: IO[bytes], format_: str, quality: int | None) -> None:
        """Encode the picture, strip by strip; a WebP needs memory for the whole."""
        formats.save(self.image(), _Forgetting(file, self.mapping), format_, self.metadata, quality)  # type: ignore[arg-type]


def check_disk(what: str, network: StyleNetwork, size: tuple[int, int], seen: tuple[int, int]) -> None:
    """Raise UserError if the temporary files of a photo need more space than is free.

    Args:
        what: the photo, for the message.
        network: the network.
        size: (width, height) of the photo.
        seen: (width, height) at which the network sees it.
    """
    needed = prod(size) * _PICTURES + prod(seen) * 6 + scratch_bytes(network, seen[1], seen[0])
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what}: {size[0]}x{size[1]} pixels need {needed / 1e9:.1f} GB of temporary files, and {folder} has "
            f"{free / 1e9:.1f} GB free; set TMPDIR to a folder on a larger disk, or give `max_side`"
        )


def stylize_large(
    network: StyleNetwork,
    picture: LargePicture,
    side: int,
    *,
    keep_colors: bool,
    strength: float,
    stroke_size: float,
    flatten: bool = False,
    mask: Image.Image | None = None,
) -> LargeResult:
    """Stylize a picture as `stylize_image` does, tile by tile.

    Args:
        network: the network; it becomes float32, in evaluation mode.
        picture: the photo.
        side: side of a tile in pixels.
        keep_colors, strength, stroke_size, mask: see `stylize_image`.
        flatten: put the result on white instead of keeping its transparency.

    Raises:
        OSError: there is no space for temporary files.
    """
    network = network.eval().to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    height, width, _ = picture.pixels.shape
    copy = resized(picture.pixels, reduced_size((width, height), stroke_size))
    stylized = Scratch(*copy.shape)

    def write(region: Region, values_3hw: Tensor) -> None:
        stylized.write(region, values_3hw.round().clamp(0, 255).permute(1, 2, 0).byte().numpy())

    stylize_tiles(network, copy, side, write)
    read = _finished(picture.pixels, copy, stylized, stroke_size)

    def finish(region: Region) -> NDArray[np.uint8]:
        box = (region.left, region.top, region.right, region.bottom)
        mask_hw1 = None if mask is None else np.array(mask.crop(box))[..., None]
        pixels = picture.pixels.read(region)
        return blend(read(region), pixels, keep_colors=keep_colors, strength=strength, mask_hw1=mask_hw1)

    return _composed(picture, finish, flatten)


def _finished(
    photo: Scratch, copy: Scratch, stylized: Scratch, stroke_size: float
) -> Callable[[Region], NDArray[np.uint8]]:
    """Return the function that gives regions of the stylized picture at the size of the photo."""
    size = photo.shape[1], photo.shape[0]
    if copy.shape == photo.shape and stroke_size <= 1:
        return stylized.read
    if stroke_size <= 1:
        return Resized(stylized, size, Image.Resampling.LANCZOS).read
    larger, larger_copy = (_enlarged(source, size) for source in (stylized, copy))
    return lambda region: add_edges(larger.read(region), larger_copy.read(region), photo.read(region))


def _enlarged(source: Scratch, size: tuple[int, int]) -> Pixels:
    return source if source.shape[:2] == size[::-1] else Resized(source, size, Image.Resampling.BICUBIC)


def _composed(picture: LargePicture, read: Callable[[Region], NDArray[np.uint8]], flatten: bool) -> LargeResult:
    height, width, _ = picture.pixels.shape
    mapping = Mapping(height, width)
    transparent = picture.alpha is not None and not flatten
    # With stroke sizes under 1, a region of the result is up to four times as wide in the network's picture.
    for region in tiles(height, width, 256):
        pixels, target = read(region), mapping.pixels[region.top : region.bottom, region.left : region.right]
        if picture.alpha is not None:
            alpha = picture.alpha.read(region)
            if flatten:
                pixels = _on_white(pixels, alpha[..., 0])
            else:
                target[..., 3:] = alpha
        target[..., :3] = pixels
        mapping.forget()
    return LargeResult(mapping, "RGBA" if transparent else "RGB", picture.metadata)


def _on_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    white = Image.new("RGB", alpha.shape[::-1], "white")
    white.paste(Image.fromarray(pixels), mask=Image.fromarray(alpha))
    return np.asarray(white)


class _Forgetting:
    """A file; whenever it is written, what the encoder has read of the mapping leaves memory."""

    def __init__(self, file: IO[bytes], mapping: Mapping) -> None:
        self._file, self._mapping = file, mapping
        self.seek, self.tell, self.flush = file.seek, file.tell, file.flush

    def write(self, data: bytes) -> int:
        self._mapping.forget()
        return self._file.write(data)
