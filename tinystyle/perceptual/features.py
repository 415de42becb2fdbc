"""What every perceptual network offers: the features of some named layers of images. Knows nothing of losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection

from torch import Tensor, nn

__all__ = ["PerceptualNetwork"]


class PerceptualNetwork(nn.Module):
    """A frozen classifier, cut after the last layer that the losses need."""

    name: str
    """Its key in `tinystyle.perceptual.PERCEPTUAL_NETWORKS`."""
    content_layer: str
    """The layer whose features the content loss compares."""
    style_layers: tuple[str, ...]
    """The layers whose Gram matrices the style loss compares."""

    def freeze(self) -> PerceptualNetwork:
        """Evaluation mode, no gradients of weights."""
        return self.eval().requires_grad_(False)

    @abstractmethod
    def preprocess(self, image_b3hw: Tensor) -> Tensor:
        """RGB 0..255 to what the classifier was trained on."""

    @abstractmethod
    def forward(self, image_b3hw: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Features of `layers`, each (batch, channels, height, width), computed no further than the last of them.

        Args:
            image_b3hw: RGB in 0..255, float.
            layers: names of this network's layers.
        """
