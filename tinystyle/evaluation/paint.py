"""The distance between a stylized photo and the style image, called the painting here: `paint3` and `paint4`.

They rank stylized photos much as a person ranks them by how painted they look (benchmarks/paint.md). The features of an
image at one layer form a point cloud with one point per position. Two clouds are compared by the squared sliced
2-Wasserstein distance (Rabin et al., "Wasserstein Barycenter and its Application to Texture Mixing", 2011; Heitz et
al., arXiv:2006.07229, eq. 3): project both on fixed directions, sort, and take the mean squared difference of equal
quantiles. This captures which features occur and how often. A Gram matrix captures only their second moments, by which
a gray embossed photo can be closer to the painting than one that looks painted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.sliced import at_quantiles, directions, sorted_projections

__all__ = ["CONTENT_PER_PAINT", "PAINTING_SIZES", "PaintMeasure", "picture_score"]

PAINTING_SIZES = (128, 192, 256, 384, 512)
"""Short sides, in pixels, to which a painting is resized. The size with the smallest distance counts, so the measure
does not prescribe the size of the strokes."""
DIRECTIONS = 128
QUANTILES = 256
SEED = 0
"""Seed of the directions; different from those of any loss."""
CONTENT_PER_PAINT = 4.0
"""Weight of the mean of paint3 and paint4 in `picture_score`, in units of content loss."""


def picture_score(content: float, paint3: float, paint4: float) -> float:
    """Combine content loss, paint3 and paint4 into one score: content + 4 * (paint3 + paint4) / 2.

    Lower is better; the photo itself has 4. The factor 4 was chosen so that the score ranks stylized photos much as a
    person ranks them (benchmarks/paint.md).
    """
    return content + CONTENT_PER_PAINT * (paint3 + paint4) / 2


class PaintMeasure:
    """Measures the distance of images to one painting: paint3 and paint4, by the features of one network.

    Args:
        network: network whose features are compared, at its `paint_layers`.
        paintings: the painting at each size to compare with, each (1, 3, H, W), RGB in 0..255.
    """

    def __init__(self, network: PerceptualNetwork, paintings: Sequence[Tensor]) -> None:
        self.network = network
        self.paintings = paintings
        self._directions: dict[str, Tensor] = {}

    @cached_property
    @torch.no_grad()
    def _targets(self) -> list[dict[str, Tensor]]:
        """Quantiles of the painting at each size; computed for the first image, which in training comes after steps."""
        layers = self.network.paint_layers
        return [self._quantiles(self.network(image, layers)) for image in self.paintings]

    def distances(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return squared sliced 2-Wasserstein distances (2, sizes) between the features of one image and the painting.

        The rows are the layers in `paint_layers`, the columns the sizes of the painting.

        Args:
            features: features at the network's `paint_layers`, each (1, C, H, W); other layers are ignored.
        """
        quantiles = self._quantiles(features)
        rows = [
            torch.stack([(quantiles[layer] - target[layer]).square().mean() for target in self._targets])
            for layer in self.network.paint_layers
        ]
        return torch.stack(rows)

    @torch.no_grad()
    def of(self, image_13hw: Tensor) -> Tensor:
        """Return the `distances` of an image, (1, 3, H, W), RGB in 0..255."""
        return self.distances(self.network(image_13hw, self.network.paint_layers))

    @staticmethod
    def scores(output_2s: Tensor, photo_2s: Tensor) -> tuple[float, float]:
        """Return (paint3, paint4) of a stylized photo: its distances over the photo's, minimized over the sizes.

        0 means equal statistics as the painting, and 1 means as far from it as the photo.

        Args:
            output_2s: `distances` of the stylized photo.
            photo_2s: `distances` of the photo.
        """
        fine, coarse = (output_2s / photo_2s.clamp_min(1e-12)).amin(1).tolist()
        return fine, coarse

    def _quantiles(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return, by layer, (QUANTILES, DIRECTIONS): quantiles of the features at all positions, by direction."""
        result = {}
        for layer in self.network.paint_layers:
            x_bchw = features[layer][:1].float()
            if layer not in self._directions:
                self._directions[layer] = directions(x_bchw.shape[1], DIRECTIONS, SEED).to(x_bchw.device)
            result[layer] = at_quantiles(sorted_projections(x_bchw, self._directions[layer]), QUANTILES)[0]
        return result
