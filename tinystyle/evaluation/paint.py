"""How near a picture is to a painting, so that the figure agrees with the eye: `paint3` and `paint4`.

The features of a picture at one layer are a cloud of points, one for each position. Two clouds are compared by the
squared sliced 2-Wasserstein distance (Rabin et al., "Wasserstein Barycenter and its Application to Texture Mixing", 2011;
Heitz et al., arXiv:2006.07229, eq. 3): projected on fixed directions, sorted, and the mean square difference of equal
quantiles taken. It sees which features occur and how often; a Gram matrix sees only their second moments, by which a gray
emboss can be nearer to a painting than a picture that everybody would call painted (benchmarks/paint.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.sliced import at_quantiles, directions, sorted_projections

__all__ = ["CONTENT_PER_PAINT", "PAINTING_SIZES", "PaintMeasure", "picture_score"]

PAINTING_SIZES = (128, 192, 256, 384, 512)
"""Short sides, in pixels, at which a painting is seen: the nearest counts, so the size of the strokes is free."""
DIRECTIONS = 128
QUANTILES = 256
SEED = 0
"""Of the directions: others than any loss uses."""
CONTENT_PER_PAINT = 4.0
"""What a picture may lose of the photo for being a painting: one unit of paint is worth four of content loss."""


def picture_score(content: float, paint3: float, paint4: float) -> float:
    """One figure for a picture, lower is better: content + 4 * (paint3 + paint4) / 2; an untouched photo has 4.

    The factor is what ranks published and own pictures as the eye does (benchmarks/paint.md).
    """
    return content + CONTENT_PER_PAINT * (paint3 + paint4) / 2


class PaintMeasure:
    """The distance of pictures to one painting, relative to that of the photo they were made from.

    Args:
        network: gives the features; its `paint_layers` are used.
        paintings: the painting, RGB in 0..255, each (1, 3, H, W), at the sizes at which it is seen.
    """

    def __init__(self, network: PerceptualNetwork, paintings: Sequence[Tensor]) -> None:
        self.network = network
        self._directions: dict[str, Tensor] = {}
        with torch.no_grad():
            self._targets = [self._quantiles(network(image, network.paint_layers)) for image in paintings]

    def distances(self, features: Mapping[str, Tensor]) -> Tensor:
        """Squared sliced 2-Wasserstein distances (2, sizes) of one picture's features to the painting's.

        Args:
            features: of the network's `paint_layers`, each (1, C, H, W); others are ignored.
        """
        quantiles = self._quantiles(features)
        rows = [
            torch.stack([(quantiles[layer] - target[layer]).square().mean() for target in self._targets])
            for layer in self.network.paint_layers
        ]
        return torch.stack(rows)

    @torch.no_grad()
    def of(self, image_13hw: Tensor) -> Tensor:
        """`distances` of a picture, RGB in 0..255, (1, 3, H, W)."""
        return self.distances(self.network(image_13hw, self.network.paint_layers))

    @staticmethod
    def scores(output_2s: Tensor, photo_2s: Tensor) -> tuple[float, float]:
        """(paint3, paint4) of a picture: its distances over the photo's, the smallest over the sizes of the painting.

        0 is the painting, 1 is as far from it as the untouched photo.
        """
        fine, coarse = (output_2s / photo_2s.clamp_min(1e-12)).amin(1).tolist()
        return fine, coarse

    def _quantiles(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Layer -> (QUANTILES, DIRECTIONS), along each direction the quantiles of the features at all positions."""
        result = {}
        for layer in self.network.paint_layers:
            x_bchw = features[layer][:1].float()
            if layer not in self._directions:
                self._directions[layer] = directions(x_bchw.shape[1], DIRECTIONS, SEED).to(x_bchw.device)
            result[layer] = at_quantiles(sorted_projections(x_bchw, self._directions[layer]), QUANTILES)[0]
        return result
