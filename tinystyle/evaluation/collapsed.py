"""Bad blocks, and by them whether a network has collapsed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.nets.perceptual.luma import luma

__all__ = ["EVALUATION_PHOTOS", "NOT_FINITE", "bad_blocks", "collapse"]

EVALUATION_PHOTOS = 16
"""Number of held-out photos by which training, and the gates after it, tell whether a network has collapsed."""

BLOCK = 16
BLACK, WHITE = 5.0, 250.0
FILLED = 0.9
FLAT_LUMA_DEVIATION = 2.0
LOST = 3.0
"""Times a flat block's deviation that the photo's has at least, for it to be a loss."""
FILLED_SHARE, FLAT_SHARE = 0.01, 0.04
"""Shares of the blocks that may be black or white, and flat, before a network counts as collapsed. A black hole is a fault in
any picture; a plain sky in the style of a woodcut may be paper without a stroke (2.7% of the blocks, in good pictures)."""
NOT_FINITE = "an output holds NaN or infinity"


def bad_blocks(output_b3hw: Tensor, photo_b3hw: Tensor, matched_b3hw: Tensor | None = None) -> Tensor:
    """Share of bad 16x16 blocks of each image, (batch,) in 0..1.

    A block is bad if at least 90% of its pixels are black (all channels <= 5) or white (all >= 250), or its luma deviation is
    under 2 grey levels, while the photo's own block is neither. Incomplete blocks at the right and bottom edge do not count;
    an image of less than a block has none.

    Args:
        matched_b3hw: the photo with its colours matched to the style. Given it, only what has been lost counts: the 2 grey
            levels shrink with the contrast that is left in `matched_b3hw`; a block that is empty in it too is not bad, since a
            pale painting leaves a sky no contrast; and a flat one must have lost two thirds of the photo's deviation, less what
            contrast takes: a sky of 2.4 grey levels that comes out at 1.8 is no hole.
    """
    filled, flat = _bad(output_b3hw, photo_b3hw, matched_b3hw)
    return (filled | flat).float().mean((1, 2)) if filled.numel() else output_b3hw.new_zeros(len(output_b3hw))


def _bad(output_b3hw: Tensor, photo_b3hw: Tensor, matched_b3hw: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which blocks are black or white, and which are flat, while the photo's own are neither; (batch, rows, columns) bool."""
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
    """Of the luma, in grey levels, (batch, 1, 1)."""
    return luma(image_b3hw.float()).std((2, 3))[..., None]


def _filled(image_b3hw: Tensor) -> Tensor:
    """Which blocks are black or white, (batch, rows, columns) bool."""
    black = (image_b3hw <= BLACK).all(1).float()
    white = (image_b3hw >= WHITE).all(1).float()
    return (F.avg_pool2d(black, BLOCK) >= FILLED) | (F.avg_pool2d(white, BLOCK) >= FILLED)


def _variance(image_b3hw: Tensor) -> Tensor:
    """Of the luma of each block, in square grey levels, (batch, rows, columns)."""
    y = luma(image_b3hw.float())
    # Centred on the image first: the variance is the small difference of two large squares.
    y = y - y.mean((2, 3), keepdim=True)
    return (F.avg_pool2d(y.square(), BLOCK) - F.avg_pool2d(y, BLOCK).square())[:, 0]


def collapse(
    outputs: Sequence[Tensor], photos: Sequence[Tensor], matched: Sequence[Tensor] | None = None
) -> str | None:
    """Why these outputs, each (1, 3, H, W), of held-out photos show a collapsed network; None if they do not.

    Collapsed is: not finite, over 1% of the blocks of all photos black or white, over 4% flat, or the same output for two
    different photos.

    Args:
        matched: the photos with their colours matched to the style, by default the photos, see `bad_blocks`.
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
