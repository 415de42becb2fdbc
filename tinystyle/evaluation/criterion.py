"""The criterion that scores stylized photos: losses, paint3 and paint4, from one pass of the loss network per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation.paint import PAINTING_SIZES, PaintMeasure, picture_score
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.losses import Losses
from tinystyle.styles import Style

__all__ = ["Criterion", "PhotoFeatures", "Scores", "paint_measure"]


@dataclass(frozen=True)
class PhotoFeatures:
    """Features of a photo and their distances to the style image, with which its stylized versions are compared."""

    content: Tensor
    """Features of the content layer, (1, C, H, W)."""
    distances: Tensor
    """Distances to the style image, (2, sizes); see `PaintMeasure.distances`."""


@dataclass(frozen=True)
class Scores:
    """The losses and metrics of one stylized photo; lower is better."""

    content: float
    style: float
    paint3: float
    paint4: float

    @property
    def score(self) -> float:
        """Content loss, paint3 and paint4 in one number, by `picture_score`."""
        return picture_score(self.content, self.paint3, self.paint4)


class Criterion:
    """Scores stylized photos by the losses of a run and by `PaintMeasure`, both on the same loss network.

    Args:
        losses: losses of the style.
        paint: paint measure of the same style, on `losses.network`.
        content_weight: weight of the content loss in the total loss.
        style_weight: weight of the style loss in the total loss.
    """

    def __init__(self, losses: Losses, paint: PaintMeasure, content_weight: float, style_weight: float) -> None:
        self.network = losses.network
        self.losses = losses
        self.paint = paint
        self.content_weight = content_weight
        self.style_weight = style_weight

    @torch.no_grad()
    def photo_features(self, photo_13hw: Tensor) -> PhotoFeatures:
        """Compute the features of a photo, RGB (1, 3, H, W) in 0..255."""
        content = self.network.content_layer
        features = self.network(photo_13hw, {content, *self.network.paint_layers})
        return PhotoFeatures(features[content], self.paint.distances(features))

    @torch.no_grad()
    def scores(self, output_13hw: Tensor, photo: PhotoFeatures) -> Scores:
        """Score a stylized photo, RGB (1, 3, H, W) in 0..255, against the photo's features."""
        layers = {*self.losses.layers, *self.network.paint_layers}
        features = self.network(output_13hw, layers)
        content, style = self.losses.compare(features, photo.content)
        paint3, paint4 = PaintMeasure.scores(self.paint.distances(features), photo.distances)
        return Scores(content.item(), style.item(), paint3, paint4)


def paint_measure(network: PerceptualNetwork, style: str | Style, device: torch.device) -> PaintMeasure:
    """Create the measure for a style image, at those of PAINTING_SIZES that enlarge it at most 2 times.

    Args:
        network: network whose features are compared, on `device`.
        style: the style image, or its path, URI or `builtin:NAME`.
        device: device of the network.

    Raises:
        UserError: the image cannot be read or decoded.
    """
    return PaintMeasure(
        network, [photo_tensor(pixels).to(device) for pixels in Style.load(style).at_sizes(PAINTING_SIZES)]
    )
