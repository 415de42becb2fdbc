"""Frames to RGB and back, by the matrix and the range that a video declares. Does not depend on models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinystyle.video.containers import pyav

__all__ = ["Colors", "frame_of", "rgb_of"]

# Numbers of ITU-T H.273, as in FFmpeg.
_RGB, _BT709, _UNSPECIFIED, _SMPTE170M, _BT2020 = 0, 1, 2, 6, 9
_PQ, _HLG = 16, 18
_MPEG, _JPEG = 1, 2
# H.273's number of a matrix -> swscale's table of coefficients.
_TABLES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
# Larger pictures without a declaration are taken for HD, as players do.
_SD = (1024, 576)


@dataclass(frozen=True)
class Colors:
    """The color space of a video, as H.273 numbers it."""

    matrix: int
    """From YCbCr to RGB; never unspecified."""
    primaries: int
    transfer: int

    @classmethod
    def of(cls, frame: Any) -> Colors:
        """Return what a frame declares; an undeclared matrix is that of BT.709 for HD, else that of BT.601."""
        matrix = frame.colorspace
        if frame.format.is_rgb or matrix == _RGB:
            matrix = _BT709
        if matrix not in _TABLES:
            hd = frame.width > _SD[0] or frame.height > _SD[1]
            matrix = _BT709 if hd else _SMPTE170M
        return cls(matrix, frame.color_primaries, frame.color_trc)

    @property
    def hdr(self) -> bool:
        """Whether the video is for brighter screens: PQ or HLG."""
        return self.transfer in (_PQ, _HLG)

    def declare(self, codec: Any) -> None:
        """Make an encoder declare this space, in the range of television (16 to 235)."""
        codec.color_range, codec.colorspace = _MPEG, self.matrix
        codec.color_primaries, codec.color_trc = self.primaries, self.transfer


def rgb_of(frame: Any, colors: Colors) -> NDArray[np.uint8]:
    """Return a decoded frame as RGB, (height, width, 3), in 0..255.

    Args:
        frame: a frame of PyAV's, of any format.
        colors: its color space.
    """
    # The formats yuvj420p and their like are of full range by their name.
    full = frame.color_range == _JPEG or frame.format.name.startswith("yuvj")
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=_TABLES[colors.matrix],
        src_color_range=_JPEG if full or frame.format.is_rgb else _MPEG,
        dst_color_range=_JPEG,
        interpolation=_exact(),
    )
    pixels: NDArray[np.uint8] = converted.to_ndarray()
    return pixels


def frame_of(pixels_hw3: NDArray[np.uint8], colors: Colors, size: tuple[int, int]) -> Any:
    """Return RGB pixels as a frame for an encoder: yuv420p, in the range of television.

    Args:
        pixels_hw3: RGB in 0..255, at most as large as `size`.
        colors: color space of the frame.
        size: (width, height) of the frame; the last row and column are repeated to fill it.
    """
    height, width = pixels_hw3.shape[:2]
    if (width, height) != size:
        pixels_hw3 = np.pad(pixels_hw3, ((0, size[1] - height), (0, size[0] - width), (0, 0)), mode="edge")
    frame = pyav().VideoFrame.from_ndarray(np.ascontiguousarray(pixels_hw3), "rgb24")
    converted = frame.reformat(
        format="yuv420p",
        dst_colorspace=_TABLES[colors.matrix],
        src_color_range=_JPEG,
        dst_color_range=_MPEG,
        interpolation=_exact(),
    )
    converted.colorspace, converted.color_range = colors.matrix, _MPEG
    converted.color_primaries, converted.color_trc = colors.primaries, colors.transfer
    return converted


def _exact() -> Any:
    """Return how swscale is to compute: without the shortcuts that shift colors by two levels."""
    how = pyav().video.reformatter.Interpolation
    return how.BILINEAR | how.ACCURATE_RND | how.FULL_CHR_H_INT | how.FULL_CHR_H_INP | how.BITEXACT
