"""The losses: content, style, total variation, saturation. Every one is per photo, then averaged over the batch.

That makes the mean over processes the mean over the global batch. Content and style are relative, so weights mean the same for
every style: an untouched photo has content loss 0 and style loss 1, an output with nothing of the photo content loss near 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tinystyle.perceptual.features import PerceptualNetwork

__all__ = [
    "Losses",
    "StyleTarget",
    "content_loss",
    "gram_matrix",
    "saturation_loss",
    "style_loss",
    "total_variation_loss",
]

SATURATION_LIMIT = 2.0
"""Pre-activations within +-2 are free: tanh(2) is grey level 250.4 or 4.6 of 0..255."""


def gram_matrix(features_bchw: Tensor) -> Tensor:
    """Gram matrices (batch, C, C) of features, divided by C*H*W (Gatys et al., arXiv:1508.06576, eq. 3; Johnson et al., eq. 3).

    Computed in float32 whatever the features' type; the gradient comes in the features' type.
    """
    return cast(Tensor, _Gram.apply(features_bchw))  # type: ignore[no-untyped-call]


class _Gram(torch.autograd.Function):
    """F F^T / CHW. By hand: autograd would differentiate the left and the right F separately, in float32, in thrice the time."""

    @staticmethod
    def forward(ctx: Any, features_bchw: Tensor) -> Tensor:
        # A view where the features lie channels-last.
        x_bnc = features_bchw.permute(0, 2, 3, 1).flatten(1, 2)
        ctx.save_for_backward(x_bnc)
        ctx.shape = features_bchw.shape
        wide_bnc = x_bnc.float()
        gram_bcc: Tensor = wide_bnc.mT @ wide_bnc / features_bchw[0].numel()
        return gram_bcc

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x_bnc,) = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        symmetric_bcc = (grads[0] + grads[0].mT) / (channels * height * width)
        grad_bnc: Tensor = x_bnc @ symmetric_bcc.to(x_bnc.dtype)
        return grad_bnc.view(batch, height, width, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class StyleTarget:
    """The Gram matrices of a style, and what an untouched photo is away from them. Computed once per run.

    Attributes:
        grams: layer -> (C, C), of the style image.
        scales: layer -> mean over reference photos of MSE(Gram_photo, Gram_style), a float.
    """

    grams: dict[str, Tensor]
    scales: dict[str, float]

    @classmethod
    @torch.no_grad()
    def measure(cls, network: PerceptualNetwork, style_13hw: Tensor, photos: list[Tensor]) -> StyleTarget:
        """Measure a style image (1, 3, H, W) against reference photos, each (1, 3, H, W), all RGB 0..255."""
        layers = network.style_layers
        grams = {name: gram_matrix(f)[0] for name, f in network(style_13hw, layers).items()}
        sums = dict.fromkeys(layers, 0.0)
        for photo in photos:
            for name, features in network(photo, layers).items():
                sums[name] += float((gram_matrix(features)[0] - grams[name]).square().mean())
        scales = {name: total / len(photos) for name, total in sums.items()}
        if not all(scale > 0 for scale in scales.values()):
            raise ValueError(
                "the style image cannot be told from the photos: their Gram matrices are equal; choose another style"
            )
        return cls(grams, scales)


def content_loss(output_bchw: Tensor, photo_bchw: Tensor) -> Tensor:
    """Per photo (batch,): MSE of the features over the mean square of the photo's (Johnson et al., eq. 2, made relative)."""
    photo = photo_bchw.float()
    dims = (1, 2, 3)
    return (output_bchw.float() - photo).square().mean(dims) / photo.square().mean(dims).clamp_min(1e-12)


def style_loss(output_features: dict[str, Tensor], target: StyleTarget) -> Tensor:
    """Per photo (batch,): mean over layers of MSE(Gram_output, Gram_style) / MSE(Gram_photo, Gram_style).

    The denominator is a constant per layer (`StyleTarget.scales`), so an untouched photo scores 1 on average, whatever the style.
    """
    per_layer = [
        (gram_matrix(features) - target.grams[name]).square().mean((1, 2)) / target.scales[name]
        for name, features in output_features.items()
    ]
    return torch.stack(per_layer).mean(0)


def total_variation_loss(image_b3hw: Tensor) -> Tensor:
    """Per photo (batch,): mean squared difference of vertical and of horizontal neighbours, of the image scaled to 0..1."""
    image = image_b3hw.float() / 255.0
    vertical = (image[:, :, 1:] - image[:, :, :-1]).square().mean((1, 2, 3))
    return vertical + (image[:, :, :, 1:] - image[:, :, :, :-1]).square().mean((1, 2, 3))


def saturation_loss(preactivation_b3hw: Tensor) -> Tensor:
    """Per photo (batch,): mean square of what pre-activations of the output tanh exceed +-SATURATION_LIMIT by.

    Beyond that the gradient of tanh vanishes and a region that has gone black or white stays so; this is the way back.
    """
    return (preactivation_b3hw.float().abs() - SATURATION_LIMIT).relu().square().mean((1, 2, 3))


class Losses(nn.Module):
    """Content and style losses of outputs against photos and one style.

    The photo's features stop at the content layer and carry no graph; the style's Gram matrices are those of `target`.
    """

    def __init__(self, network: PerceptualNetwork, target: StyleTarget) -> None:
        super().__init__()
        self.network = network
        self.target = target

    def forward(self, output_b3hw: Tensor, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Content and style loss, each per photo (batch,), of images in RGB 0..255."""
        content, style = self.network.content_layer, self.network.style_layers
        with torch.no_grad():
            photo_content = self.network(photo_b3hw, {content})[content]
        return self.compare(self.network(output_b3hw, {content, *style}), photo_content)

    def compare(self, output_features: Mapping[str, Tensor], photo_content: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, of features that are at hand: of the output's content and style layers, of the photo's content layer."""
        content, style = self.network.content_layer, self.network.style_layers
        styled = {name: output_features[name] for name in style}
        return content_loss(output_features[content], photo_content), style_loss(styled, self.target)
