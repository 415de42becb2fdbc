"""What the style loss needs to know of the photos that it is normalized by: the same for every style.

Computed once for a dataset and a loss network, so that the distances of any style image from the photos take no further
pass of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.gram import gram_matrix
from tinystyle.nets.perceptual.sliced import at_quantiles, directions, sorted_projections

__all__ = ["ReferenceStatistics", "loss_directions", "mean_square"]

DIRECTIONS = 64
DIRECTION_SEED = 1
"""Random seed of the directions. Differs from that of `evaluation.paint`: what is minimized is not what is measured."""
_ROUNDING = 1e-12
"""A mean squared distance that is a smaller fraction of what it is the difference of is 0 but for rounding."""


@dataclass(frozen=True)
class ReferenceStatistics:
    """Feature statistics of reference photos on one loss network, at its style layers and its paint layers."""

    energy: float
    """Mean square of the features of the content layer."""
    grams: dict[str, Tensor]
    """Layer -> mean Gram matrix of the photos, (C, C) float64."""
    gram_energies: dict[str, float]
    """Layer -> mean square of the entries of the photos' Gram matrices."""
    clouds: dict[str, list[Tensor]]
    """Layer -> for each photo (N, DIRECTIONS), its N features along each of `loss_directions`, ascending."""

    @classmethod
    @torch.no_grad()
    def measure(cls, network: PerceptualNetwork, photos: Sequence[Tensor]) -> ReferenceStatistics:
        """Measure at least one photo, each (1, 3, H, W), RGB 0..255."""
        energy = 0.0
        grams: dict[str, Tensor] = {}
        gram_energies = dict.fromkeys(network.style_layers, 0.0)
        clouds: dict[str, list[Tensor]] = {name: [] for name in network.paint_layers}
        for photo in photos:
            features = network(photo, {*network.style_layers, *network.paint_layers, network.content_layer})
            energy += mean_square(features[network.content_layer]) / len(photos)
            for name in network.style_layers:
                gram_cc = gram_matrix(features[name])[0].double() / len(photos)
                grams[name] = grams[name] + gram_cc if name in grams else gram_cc
                gram_energies[name] += gram_cc.square().mean().item() * len(photos)
            for name, of_photos in clouds.items():
                of_photos.append(sorted_projections(features[name], loss_directions(features[name]))[0])
        return cls(energy, grams, gram_energies, clouds)

    def gram_distance(self, layer: str, gram_cc: Tensor) -> float:
        """Return the mean over the photos of the mean squared difference of their Gram matrices from `gram_cc`.

        The mean of |G - S|^2 is the mean of |G|^2 - 2 G.S + |S|^2, so the mean Gram matrix is enough.
        """
        style_cc = gram_cc.double()
        energies = self.gram_energies[layer] + style_cc.square().mean().item()
        distance = energies - 2 * (self.grams[layer] * style_cc).mean().item()
        return distance if distance > _ROUNDING * energies else 0.0

    def sliced_distance(self, layer: str, cloud_nd: Tensor) -> float:
        """Return the mean over the photos of the squared sliced 2-Wasserstein distance of their features from a cloud.

        Args:
            layer: one of the paint layers.
            cloud_nd: the other features along each of `loss_directions`, (N, DIRECTIONS), ascending.
        """
        clouds = self.clouds[layer]
        distances = [
            (sorted_nd - at_quantiles(cloud_nd[None], len(sorted_nd))[0]).square().mean().item() for sorted_nd in clouds
        ]
        return sum(distances) / len(clouds)


def loss_directions(features_bchw: Tensor) -> Tensor:
    """Return the unit vectors (C, DIRECTIONS) along which the style loss compares such features."""
    return directions(features_bchw.shape[1], DIRECTIONS, DIRECTION_SEED).to(features_bchw.device)


def mean_square(features_bchw: Tensor) -> float:
    """Return the mean square of features."""
    return features_bchw.float().square().mean().item()
