"""What a stylised image is worth: losses on held-out photos beside two trivial answers, and whether it has collapsed.

Images are RGB tensors (batch, 3, height, width) in 0..255, float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.perceptual.losses import Losses

__all__ = ["NOT_FINITE", "LossRow", "bad_blocks", "collapse", "colour_match", "identity", "loss_row"]

BLOCK = 16
BLACK, WHITE = 5.0, 250.0
FILLED = 0.9
FLAT_LUMA_DEVIATION = 2.0
COLLAPSED_SHARE = 0.01
NOT_FINITE = "an output holds NaN or infinity"
LUMA_3 = (0.299, 0.587, 0.114)  # ITU-R BT.601


def bad_blocks(output_b3hw: Tensor, photo_b3hw: Tensor) -> Tensor:
    """Share of bad 16x16 blocks of each image, (batch,) in 0..1.

    A block is bad if at least 90% of its pixels are black (all channels <= 5) or white (all >= 250), or its luma deviation is
    under 2 grey levels, while the photo's own block is neither. Incomplete blocks at the right and bottom edge do not count;
    an image of less than a block has none.
    """
    if min(output_b3hw.shape[-2:]) < BLOCK:
        return output_b3hw.new_zeros(len(output_b3hw))
    bad = _empty_blocks(output_b3hw) & ~_empty_blocks(photo_b3hw)
    return bad.float().mean((1, 2))


def _empty_blocks(image_b3hw: Tensor) -> Tensor:
    """Which blocks are black, white or flat, (batch, rows, columns) bool."""
    image = image_b3hw.float()
    black = (image <= BLACK).all(1, keepdim=True).float()
    white = (image >= WHITE).all(1, keepdim=True).float()
    luma = (image * image.new_tensor(LUMA_3).view(1, 3, 1, 1)).sum(1, keepdim=True)
    # Centred on the image first: the variance is the small difference of two large squares.
    luma = luma - luma.mean((2, 3), keepdim=True)
    mean, square = F.avg_pool2d(luma, BLOCK), F.avg_pool2d(luma.square(), BLOCK)
    flat = square - mean.square() < FLAT_LUMA_DEVIATION**2
    filled = (F.avg_pool2d(black, BLOCK) >= FILLED) | (F.avg_pool2d(white, BLOCK) >= FILLED)
    return (flat | filled)[:, 0]


def collapse(outputs: Sequence[Tensor], photos: Sequence[Tensor]) -> str | None:
    """Why these outputs, each (1, 3, H, W), of held-out photos show a collapsed network; None if they do not.

    Collapsed is: not finite, over 1% bad blocks over all photos, or the same output for two different photos.
    """
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        return NOT_FINITE
    share = torch.cat([bad_blocks(o, p) for o, p in zip(outputs, photos, strict=True)]).mean().item()
    if share > COLLAPSED_SHARE:
        return f"{share:.1%} of the blocks of held-out photos came out black, white or flat (at most {COLLAPSED_SHARE:.0%} may)"
    for i, output in enumerate(outputs):
        for j in range(i):
            same_shape = output.shape == outputs[j].shape and photos[i].shape == photos[j].shape
            if same_shape and torch.equal(output.round(), outputs[j].round()) and not torch.equal(photos[i], photos[j]):
                return "two different photos came out the same"
    return None


def identity(photo_b3hw: Tensor) -> Tensor:
    """The photo itself: style loss 1, content loss 0."""
    return photo_b3hw


def colour_match(style_13hw: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that gives a photo the style image's mean and deviation of each channel: the trivial stylisation."""
    style_std, style_mean = torch.std_mean(style_13hw, (2, 3), keepdim=True)

    def recolour(photo_b3hw: Tensor) -> Tensor:
        std, mean = torch.std_mean(photo_b3hw, (2, 3), keepdim=True)
        return ((photo_b3hw - mean) / std.clamp_min(1e-3) * style_std + style_mean).clamp(0, 255)

    return recolour


@dataclass(frozen=True)
class LossRow:
    """Mean losses over photos: one row of every table of results."""

    name: str
    content: float
    style: float
    total: float
    bad_blocks: float
    """Share in 0..1, mean over the photos."""
    worst_photo: float
    """The largest share of bad blocks of a photo."""

    def as_dict(self) -> dict[str, float | str]:
        return asdict(self)


@torch.no_grad()
def loss_row(
    name: str,
    stylise: Callable[[Tensor], Tensor],
    photos: Sequence[Tensor],
    losses: Losses,
    content_weight: float,
    style_weight: float,
) -> LossRow:
    """Mean losses of `stylise` over `photos`, each (1, 3, H, W); total is content_weight * content + style_weight * style."""
    content, style, bad = [], [], []
    for photo in photos:
        output = stylise(photo)
        c, s = losses(output, photo)
        content.append(c.item())
        style.append(s.item())
        bad.append(bad_blocks(output, photo).item())
    count = len(photos)
    mean_content, mean_style = sum(content) / count, sum(style) / count
    total = content_weight * mean_content + style_weight * mean_style
    return LossRow(name, mean_content, mean_style, total, sum(bad) / count, max(bad))
