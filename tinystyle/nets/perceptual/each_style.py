"""Content and style losses of photos in different styles, from one pass of the loss network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.losses import Losses, StyleTarget, content_loss, style_loss

__all__ = ["LossesOfEach"]


class LossesOfEach:
    """Content and style losses of stylized photos, each in one of several styles; see `Losses`.

    Args:
        network: the loss network.
        targets: statistics of the style images on that network, measured with the same photos and layers.
    """

    def __init__(self, network: PerceptualNetwork, targets: Sequence[StyleTarget]) -> None:
        self.network = network
        self.targets = targets
        self._layers = Losses(network, targets[0]).layers

    def __call__(self, output_b3hw: Tensor, photo_b3hw: Tensor, styles: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return content and style loss as used in training, each per photo (batch,), for images in RGB 0..255.

        Args:
            output_b3hw: the stylized photos.
            photo_b3hw: the photos.
            styles: the style of each photo, as an index of `targets`.
        """
        content = self.network.content_layer
        with torch.no_grad():
            photo_content = self.network(photo_b3hw, {content})[content]
        features = self.network(output_b3hw, self._layers)
        content_b = content_loss(features[content], photo_content, self.targets[0].photo_energy)
        photos = {name: x_bchw.split(1) for name, x_bchw in features.items()}
        style_b = [
            style_loss({name: parts[index] for name, parts in photos.items()}, self.targets[style])
            for index, style in enumerate(styles)
        ]
        return content_b, torch.cat(style_b)
