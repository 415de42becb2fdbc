"""The losses: content, style, total variation, saturation, grid. Each is per photo, then averaged over the batch.

The mean over processes is therefore the mean over the global batch. Content and style losses are normalized, so that
their weights mean the same for every style: the photo itself has content loss 0 and, on average, style loss 1; an
output unrelated to the photo has a content loss near 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from tinystyle.errors import UserError
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.sliced import at_quantiles, directions, sorted_projections

__all__ = [
    "Losses",
    "StyleTarget",
    "content_loss",
    "content_target",
    "gram_matrix",
    "style_loss",
]

DIRECTIONS = 64
DIRECTION_SEED = 1
"""Random seed of the directions. Differs from that of `evaluation.paint`: what is minimized is not what is measured."""
PLAIN = 0.15
"""How fast the limit of the content target falls as the contrast of the style image grows; see `content_target`."""


def gram_matrix(features_bchw: Tensor) -> Tensor:
    """Return Gram matrices (batch, C, C) of features, divided by C*H*W.

    See Gatys et al., arXiv:1508.06576, eq. 3, and Johnson et al., eq. 3. Computed in float32 whatever the features'
    dtype; the gradient has the features' dtype.
    """
    return cast(Tensor, _Gram.apply(features_bchw))  # type: ignore[no-untyped-call]


class _Gram(torch.autograd.Function):
    """Computes F F^T / CHW with its own gradient.

    Autograd would differentiate the left and the right F separately, in float32, which takes three times as long.
    """

    @staticmethod
    def forward(ctx: Any, features_bchw: Tensor) -> Tensor:
        # A view if the features are channels-last.
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
    """Feature statistics of a style image, and the mean distance of photos from them. Computed once per run.

    Attributes:
        grams: layer -> Gram matrix (C, C) of the style image.
        gram_weights: layer -> weight of its Gram distance, divided by the mean of that distance over reference photos.
        clouds: layer -> (N, DIRECTIONS), the N features of the style image along each direction, ascending.
        cloud_weights: layer -> weight of its sliced distance, divided by the mean of that distance over reference
            photos.
        directions: layer -> (C, DIRECTIONS), random unit vectors.
        contrast: r, the mean square of the style image's content features divided by that of the reference photos.
        content_target: the content loss that a style weight of `auto` aims at; see the function of this name.
    """

    grams: dict[str, Tensor]
    gram_weights: dict[str, float]
    clouds: dict[str, Tensor]
    cloud_weights: dict[str, float]
    directions: dict[str, Tensor]
    contrast: float
    content_target: float
    photo_energy: float
    """Mean square of the content features of the reference photos."""

    @classmethod
    @torch.no_grad()
    def measure(
        cls,
        network: PerceptualNetwork,
        style_13hw: Tensor,
        photos: list[Tensor],
        layer_weights: Sequence[float] | None = None,
        sliced_share: float = 0.0,
    ) -> StyleTarget:
        """Measure a style image (1, 3, H, W) against reference photos, each (1, 3, H, W), all RGB 0..255.

        Args:
            network: the loss network.
            style_13hw: the style image.
            photos: reference photos, at least one.
            layer_weights: relative weights of the network's style layers in the Gram distance; by default the network's
                `style_layer_weights`.
            sliced_share: fraction of the style loss that is sliced distances, at the network's paint layers, in 0..1;
                the rest is Gram distances.

        Raises:
            UserError: the style image has the same statistics as the photos.
        """
        return cls.measure_each(network, [style_13hw], photos, layer_weights, sliced_share)[0]

    @classmethod
    @torch.no_grad()
    def measure_each(
        cls,
        network: PerceptualNetwork,
        styles: Sequence[Tensor],
        photos: list[Tensor],
        layer_weights: Sequence[float] | None = None,
        sliced_share: float = 0.0,
    ) -> list[StyleTarget]:
        """Measure several style images, in one pass over the photos; each result is that of `measure`.

        Raises:
            UserError: a style image has the same statistics as the photos.
        """
        of_grams = dict(zip(network.style_layers, layer_weights or network.style_layer_weights, strict=True))
        of_clouds = dict.fromkeys(network.paint_layers, 1.0) if sliced_share else {}
        layers = {*of_grams, *of_clouds, network.content_layer}
        unscaled = [cls._unscaled(network, style, of_grams, of_clouds, layers) for style in styles]
        photo_energy = 0.0
        scales = [(dict.fromkeys(of_grams, 0.0), dict.fromkeys(of_clouds, 0.0)) for _ in styles]
        for photo in photos:
            features = network(photo, layers)
            photo_energy += _energy(features[network.content_layer]) / len(photos)
            for (target, _), (gram_scales, cloud_scales) in zip(unscaled, scales, strict=True):
                for name in gram_scales:
                    gram_scales[name] += target.gram_distance(name, features[name]).item() / len(photos)
                for name in cloud_scales:
                    cloud_scales[name] += target.sliced_distance(name, features[name]).item() / len(photos)
        if not all(scale > 0 for both in scales for of_kind in both for scale in of_kind.values()):
            raise UserError(
                "the style image cannot be told from the photos: their features are alike; choose another style"
            )
        measured = []
        for (target, energy), (gram_scales, cloud_scales) in zip(unscaled, scales, strict=True):
            contrast = energy / max(photo_energy, 1e-12)
            measured.append(
                replace(
                    target,
                    gram_weights=_shares(of_grams, gram_scales, 1 - sliced_share),
                    cloud_weights=_shares(of_clouds, cloud_scales, sliced_share),
                    contrast=contrast,
                    content_target=content_target(network.content_similarity, network.content_limit, contrast),
                    photo_energy=photo_energy,
                )
            )
        return measured

    @classmethod
    def _unscaled(
        cls,
        network: PerceptualNetwork,
        style_13hw: Tensor,
        of_grams: Mapping[str, float],
        of_clouds: Mapping[str, float],
        layers: set[str],
    ) -> tuple[StyleTarget, float]:
        """Return the statistics of a style image, not yet compared with photos, and its content features' energy."""
        style = network(style_13hw, layers)
        along = {
            name: directions(style[name].shape[1], DIRECTIONS, DIRECTION_SEED).to(style_13hw.device)
            for name in of_clouds
        }
        target = cls(
            {name: gram_matrix(style[name])[0] for name in of_grams},
            dict.fromkeys(of_grams, 1.0),
            {name: sorted_projections(style[name], along[name])[0] for name in of_clouds},
            dict.fromkeys(of_clouds, 1.0),
            along,
            contrast=1.0,
            content_target=network.content_limit,
            photo_energy=0.0,
        )
        return target, _energy(style[network.content_layer])

    def gram_distance(self, layer: str, features_bchw: Tensor) -> Tensor:
        """Return per image (batch,) the mean squared difference between its Gram matrix and the style image's."""
        return (gram_matrix(features_bchw) - self.grams[layer]).square().mean((1, 2))

    def sliced_distance(self, layer: str, features_bchw: Tensor) -> Tensor:
        """Return per image (batch,) the squared sliced 2-Wasserstein distance of its features from the style image's.

        See Heitz et al., arXiv:2006.07229, eq. 3.
        """
        sorted_bnd = sorted_projections(features_bchw, self.directions[layer])
        return (sorted_bnd - at_quantiles(self.clouds[layer][None], sorted_bnd.shape[1])).square().mean((1, 2))


def content_target(similarity: float, limit: float, contrast: float) -> float:
    """Return the content loss to aim at in training: min(1 + r - 2 c sqrt(r), limit / (1 + PLAIN r)).

    The first term is the content loss of an image whose content features have r times the mean square of the photo's,
    and the cosine similarity c to the photo's. With r as in the style image, good stylized photos in different styles
    have about the same c. The second term is lower for a high r, because whole photos have more uniform areas than
    crops, where a high r costs most of the content. `similarity` and `limit` are constants of the loss network, chosen
    by experiment (benchmarks/losses.md).

    Args:
        similarity: c, in 0..1; higher keeps more of the photo.
        limit: upper bound of the content loss for r = 0.
        contrast: r, at least 0; see `StyleTarget.contrast`.
    """
    return min(1 + contrast - 2 * similarity * math.sqrt(contrast), limit / (1 + PLAIN * contrast))


def _energy(features_bchw: Tensor) -> float:
    return features_bchw.float().square().mean().item()


def _shares(weights: Mapping[str, float], scales: Mapping[str, float], share: float) -> dict[str, float]:
    """Return factors by which distances with the means `scales` add up to `share`, in the proportions of `weights`."""
    total = sum(weights.values())
    return {name: share * weight / total / scales[name] for name, weight in weights.items()}


def content_loss(output_bchw: Tensor, photo_bchw: Tensor, least: float = 0.0) -> Tensor:
    """Return the content loss per photo (batch,): MSE of the features over the mean square of the photo's features.

    This is eq. 2 of Johnson et al., arXiv:1603.08155, divided by the mean square of the photo's features.

    Args:
        output_bchw: features of the output at the content layer.
        photo_bchw: features of the photo at the content layer.
        least: lower bound of the denominator. In a crop of a uniform sky the mean square is nearly 0, and any stroke
            there would have a higher loss than all other photos together.
    """
    photo = photo_bchw.float()
    dims = (1, 2, 3)
    energy_b = photo.square().mean(dims).clamp_min(max(least, 1e-12))
    return (output_bchw.float() - photo).square().mean(dims) / energy_b


def style_loss(output_features: Mapping[str, Tensor], target: StyleTarget) -> Tensor:
    """Return the style loss per photo (batch,): weighted mean of distances to the style, normalized by those of photos.

    It combines the Gram distances of the style layers and, in the proportion with which `target` was measured, the
    sliced Wasserstein distances of the paint layers. Each distance is divided by its mean over the reference photos, so
    unstylized photos have style loss 1 on average, whatever the style.

    Args:
        output_features: features of the output, (batch, C, H, W), at the layers of `target`.
        target: statistics of the style image.
    """
    grams = [
        weight * target.gram_distance(name, output_features[name])
        for name, weight in target.gram_weights.items()
        if weight
    ]
    clouds = [
        weight * target.sliced_distance(name, output_features[name]) for name, weight in target.cloud_weights.items()
    ]
    return torch.stack([*grams, *clouds]).sum(0)


class Losses(nn.Module):
    """Content and style losses of stylized photos, for one style.

    The photo's features are computed up to the content layer only, and without gradients.

    Args:
        network: the loss network.
        target: statistics of the style image on that network.
    """

    def __init__(self, network: PerceptualNetwork, target: StyleTarget) -> None:
        super().__init__()
        self.network = network
        self.target = target

    def forward(self, output_b3hw: Tensor, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Return content and style loss as used in training, each per photo (batch,), for images in RGB 0..255.

        The denominator of the content loss is at least the mean square of the reference photos' features.
        """
        content = self.network.content_layer
        with torch.no_grad():
            photo_content = self.network(photo_b3hw, {content})[content]
        features = self.network(output_b3hw, self.layers)
        content_b = content_loss(features[content], photo_content, self.target.photo_energy)
        return content_b, style_loss(features, self.target)

    def compare(self, output_features: Mapping[str, Tensor], photo_content: Tensor) -> tuple[Tensor, Tensor]:
        """Return content and style loss as reported in tables, each per photo (batch,), from computed features.

        Unlike in training, the denominator of the content loss has no lower bound.

        Args:
            output_features: features of the output at `layers`.
            photo_content: features of the photo at the content layer.
        """
        content_b = content_loss(output_features[self.network.content_layer], photo_content)
        return content_b, style_loss(output_features, self.target)

    @property
    def layers(self) -> set[str]:
        """Layers at which the features of the output are compared."""
        used = {name for name, weight in self.target.gram_weights.items() if weight}
        return {self.network.content_layer, *used, *self.target.cloud_weights}
