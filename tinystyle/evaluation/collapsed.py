"""Bad blocks, and by them whether a network has collapsed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.perceptual.luma import luma

__all__ = ["NOT_FINITE", "bad_blocks", "collapse", "empty_blocks_of"]

BLOCK = 16
BLACK, WHITE = 5.0, 250.0
FILLED = 0.9
FLAT_LUMA_DEVIATION = 2.0
COLLAPSED_SHARE = 0.01
NOT_FINITE = "an output holds NaN or infinity"


def bad_blocks(output_b3hw: Tensor, photo_b3hw: Tensor, matched_b3hw: Tensor | None = None) -> Tensor:
    """Share of bad 16x16 blocks of each image, (batch,) in 0..1.

    A block is bad if at least 90% of its pixels are black (all channels <= 5) or white (all >= 250), or its luma deviation is
    under 2 grey levels, while the photo's own block is neither. Incomplete blocks at the right and bottom edge do not count;
    an image of less than a block has none.

    Args:
        matched_b3hw: the photo with its colours matched to the style, by default the photo itself. Blocks are judged by the
            contrast that is left in it: the 2 grey levels shrink with the luma's deviation, and a block that is empty in
            `matched_b3hw` too is not bad. A pale painting leaves a sky no contrast.
    """
    if min(output_b3hw.shape[-2:]) < BLOCK:
        return output_b3hw.new_zeros(len(output_b3hw))
    matched_b3hw = photo_b3hw if matched_b3hw is None else matched_b3hw
    contrast_b111 = (_deviation(matched_b3hw) / _deviation(photo_b3hw).clamp_min(1e-3)).clamp_max(1)
    empty, empty_in_matched = (_empty_blocks(image, contrast_b111) for image in (output_b3hw, matched_b3hw))
    return (empty & ~_empty_blocks(photo_b3hw) & ~empty_in_matched).float().mean((1, 2))


def empty_blocks_of(style_13hw: Tensor) -> float:
    """Share, in 0..1, of the 16x16 blocks of a style image that are black, white or flat: its pictures may have as many."""
    return _empty_blocks(style_13hw).float().mean().item() if min(style_13hw.shape[-2:]) >= BLOCK else 0.0


def _deviation(image_b3hw: Tensor) -> Tensor:
    """Of the luma, in grey levels, (batch, 1, 1, 1)."""
    return luma(image_b3hw.float()).std((1, 2, 3), keepdim=True)


def _empty_blocks(image_b3hw: Tensor, contrast: Tensor | float = 1.0) -> Tensor:
    """Which blocks are black, white, or flat for an image of such contrast, (batch, rows, columns) bool."""
    image = image_b3hw.float()
    black = (image <= BLACK).all(1, keepdim=True).float()
    white = (image >= WHITE).all(1, keepdim=True).float()
    y = luma(image)
    # Centred on the image first: the variance is the small difference of two large squares.
    y = y - y.mean((2, 3), keepdim=True)
    mean, square = F.avg_pool2d(y, BLOCK), F.avg_pool2d(y.square(), BLOCK)
    flat = square - mean.square() < (FLAT_LUMA_DEVIATION * contrast) ** 2
    filled = (F.avg_pool2d(black, BLOCK) >= FILLED) | (F.avg_pool2d(white, BLOCK) >= FILLED)
    return (flat | filled)[:, 0]


def collapse(
    outputs: Sequence[Tensor], photos: Sequence[Tensor], matched: Sequence[Tensor] | None = None, of_style: float = 0.0
) -> str | None:
    """Why these outputs, each (1, 3, H, W), of held-out photos show a collapsed network; None if they do not.

    Collapsed is: not finite, over 1% bad blocks over all photos, besides those that the style has itself, or the same output
    for two different photos.

    Args:
        matched: the photos with their colours matched to the style, by default the photos, see `bad_blocks`.
        of_style: the `empty_blocks_of` the style.
    """
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        return NOT_FINITE
    triples = zip(outputs, photos, matched or photos, strict=True)
    share = torch.cat([bad_blocks(*images) for images in triples]).mean().item()
    limit = COLLAPSED_SHARE + of_style
    if share > limit:
        return f"{share:.2%} of the blocks of held-out photos came out black, white or flat (at most {limit:.1%} may)"
    for i, output in enumerate(outputs):
        for j in range(i):
            same_shape = output.shape == outputs[j].shape and photos[i].shape == photos[j].shape
            if same_shape and torch.equal(output.round(), outputs[j].round()) and not torch.equal(photos[i], photos[j]):
                return "two different photos came out the same"
    return None
