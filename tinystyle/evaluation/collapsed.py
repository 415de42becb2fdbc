"""Detects bad blocks (black, white or flat where the photo is not), and by them a collapsed network.

A network has collapsed if, on held-out photos, its outputs are not finite, over 1% of the blocks come out black or
white, over 4% come out flat, or two different photos give the same output.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.nets.perceptual.luma import luma

__all__ = ["EVALUATION_PHOTOS", "NOT_FINITE", "bad_blocks", "collapse"]

EVALUATION_PHOTOS = 16
"""Number of held-out photos that training, and the gates after it, use to detect collapse."""

BLOCK = 16
BLACK, WHITE = 5.0, 250.0
FILLED = 0.9
FLAT_LUMA_DEVIATION = 2.0
LOST = 3.0
"""A flat block counts as lost only if the photo's standard deviation there is at least this many times as high."""
FILLED_SHARE, FLAT_SHARE = 0.01, 0.04
"""Maximum fractions of black or white blocks, and of flat blocks, of a network that has not collapsed. A black area
that
is not in the photo is always an error; a uniform sky in the style of a woodcut may be paper without a stroke (2.7% of
the blocks, in good pictures)."""
NOT_FINITE = "an output holds NaN or infinity"


def bad_blocks(output_b3hw: Tensor, photo_b3hw: Tensor, matched_b3hw: Tensor | None = None) -> Tensor:
    """Return the fraction of bad 16x16 blocks of each image, (batch,) in 0..1.

    A block is bad if it is black or white (at least 90% of its pixels have all channels <= 5, or all >= 250) or flat
    (the standard deviation of its luma is below 2 gray levels), while the same block of the photo is neither.
    Incomplete blocks at the right and bottom edges are ignored; an image smaller than a block has none.

    Args:
        output_b3hw: the stylized photo, RGB in 0..255.
        photo_b3hw: the photo, of the same shape.
        matched_b3hw: the photo with its colors matched to the style. If given, only lost detail counts: the limit of 2
            gray levels shrinks with the contrast that is left in `matched_b3hw`; a block that is black, white or flat
            there too is not bad, since a low-contrast painting leaves a sky no contrast; and a flat block must have
            lost two thirds of the photo's standard deviation, apart from the general loss of contrast, so a sky with
            2.4 gray levels in the photo and 1.8 in the output is not bad.
    """
    filled, flat = _bad(output_b3hw, photo_b3hw, matched_b3hw)
    return (filled | flat).float().mean((1, 2)) if filled.numel() else output_b3hw.new_zeros(len(output_b3hw))


def _bad(output_b3hw: Tensor, photo_b3hw: Tensor, matched_b3hw: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return which blocks are black or white, and which are flat, unless the photo's are: (batch, rows, columns)."""
    if min(output_b3hw.shape[-2:]) < BLOCK:
        none = torch.zeros(len(output_b3hw), 0, 0, dtype=torch.bool, device=output_b3hw.device)
        return none, none
    flat = FLAT_LUMA_DEVIATION**2
    variance, in_photo = _variance(output_b3hw), _variance(photo_b3hw)
    filled, well_photographed = _filled(output_b3hw), ~_filled(photo_b3hw) & (in_photo >= flat)
    if matched_b3hw is None:
        return filled & well_photographed, (variance < flat) & well_photographed
    contrast_b11 = (_deviation(matched_b3hw) / _deviation(photo_b3hw).clamp_min(1e-3)).clamp_max(1).square()
    well_matched = ~_filled(matched_b3hw) & (_variance(matched_b3hw) >= flat * contrast_b11)
    lost = (variance < flat * contrast_b11) & (variance * LOST**2 < in_photo * contrast_b11)
    good = well_photographed & well_matched
    return filled & good, lost & good


def _deviation(image_b3hw: Tensor) -> Tensor:
    """Return the standard deviation of the luma in gray levels, (batch, 1, 1)."""
    return luma(image_b3hw.float()).std((2, 3))[..., None]


def _filled(image_b3hw: Tensor) -> Tensor:
    """Return which blocks are black or white, (batch, rows, columns) bool."""
    black = (image_b3hw <= BLACK).all(1).float()
    white = (image_b3hw >= WHITE).all(1).float()
    return (F.avg_pool2d(black, BLOCK) >= FILLED) | (F.avg_pool2d(white, BLOCK) >= FILLED)


def _variance(image_b3hw: Tensor) -> Tensor:
    """Return the luma variance of each block, in squared gray levels, (batch, rows, columns)."""
    y = luma(image_b3hw.float())
    # Center on the image mean first, because the variance is a small difference of two large squares.
    y = y - y.mean((2, 3), keepdim=True)
    return (F.avg_pool2d(y.square(), BLOCK) - F.avg_pool2d(y, BLOCK).square())[:, 0]


def collapse(
    outputs: Sequence[Tensor], photos: Sequence[Tensor], matched: Sequence[Tensor] | None = None
) -> str | None:
    """Return why the outputs of held-out photos show that the network has collapsed; None if they do not.

    A network has collapsed if a value is not finite, if over 1% of the blocks of all photos are black or white or over
    4% are flat (see `bad_blocks`), or if two different photos have the same output.

    Args:
        outputs: the stylized photos, each (1, 3, H, W), RGB in 0..255.
        photos: the photos, in the same order and of the same shapes.
        matched: the photos with their colors matched to the style, by default the photos themselves; see `bad_blocks`.
    """
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        return NOT_FINITE
    blocks = [_bad(*images) for images in zip(outputs, photos, matched or photos, strict=True)]
    for kind, most, bad in zip(
        ("black or white", "flat"), (FILLED_SHARE, FLAT_SHARE), zip(*blocks, strict=True), strict=True
    ):
        share = sum(block.float().mean().item() for block in bad if block.numel()) / len(outputs)
        if share > most:
            return f"{share:.2%} of the blocks of held-out photos came out {kind} (at most {most:.0%} may)"
    for i, output in enumerate(outputs):
        for j in range(i):
            same_shape = output.shape == outputs[j].shape and photos[i].shape == photos[j].shape
            if same_shape and torch.equal(output.round(), outputs[j].round()) and not torch.equal(photos[i], photos[j]):
                return "two different photos came out the same"
    return None
