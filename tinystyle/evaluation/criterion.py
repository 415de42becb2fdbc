"""What pictures in one style are judged by: losses and paint, from one pass of the loss network for each image."""

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
    """What of a photo its stylized pictures are compared with."""

    content: Tensor
    """Features of the content layer, (1, C, H, W)."""
    distances: Tensor
    """To the painting, see `PaintMeasure.distances`."""


@dataclass(frozen=True)
class Scores:
    """Of one picture; lower is better."""

    content: float
    style: float
    paint3: float
    paint4: float

    @property
    def score(self) -> float:
        """`picture_score`: content and paint in one figure."""
        return picture_score(self.content, self.paint3, self.paint4)


class Criterion:
    """Judges pictures by the losses of a run and by `PaintMeasure` on the same network.

    Args:
        losses: of the style.
        paint: of the same style, on `losses.network`.
        content_weight: of the content loss in totals.
        style_weight: of the style loss in totals.
    """

    def __init__(self, losses: Losses, paint: PaintMeasure, content_weight: float, style_weight: float) -> None:
        self.network = losses.network
        self.losses = losses
        self.paint = paint
        self.content_weight = content_weight
        self.style_weight = style_weight

    @torch.no_grad()
    def photo_features(self, photo_13hw: Tensor) -> PhotoFeatures:
        """Of a photo, RGB in 0..255."""
        content = self.network.content_layer
        features = self.network(photo_13hw, {content, *self.network.paint_layers})
        return PhotoFeatures(features[content], self.paint.distances(features))

    @torch.no_grad()
    def scores(self, output_13hw: Tensor, photo: PhotoFeatures) -> Scores:
        """Of a picture, RGB in 0..255, that was made from `photo`."""
        layers = {*self.losses.layers, *self.network.paint_layers}
        features = self.network(output_13hw, layers)
        content, style = self.losses.compare(features, photo.content)
        paint3, paint4 = PaintMeasure.scores(self.paint.distances(features), photo.distances)
        return Scores(content.item(), style.item(), paint3, paint4)


def paint_measure(network: PerceptualNetwork, style: str | Style, device: torch.device) -> PaintMeasure:
    """The measure for a style image (path, URI or `builtin:NAME`), seen at those of PAINTING_SIZES that it has.

    Raises:
        ValueError: the image cannot be read or decoded.
    """
    return PaintMeasure(
        network, [photo_tensor(pixels).to(device) for pixels in Style.load(style).at_sizes(PAINTING_SIZES)]
    )
