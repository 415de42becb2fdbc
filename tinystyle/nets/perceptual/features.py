"""What every perceptual network offers: the features of some named layers of images. Knows nothing of losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import Self

import torch
from torch import Tensor, nn

__all__ = ["PerceptualNetwork"]


class PerceptualNetwork(nn.Module):
    """A frozen classifier, cut after the last layer that the losses need."""

    name: str
    """Its key in `tinystyle.nets.perceptual.PERCEPTUAL_NETWORKS`."""
    content_layer: str
    """The layer whose features the content loss compares."""
    style_layers: tuple[str, ...]
    """The layers whose Gram matrices the style loss compares."""
    style_layer_weights: tuple[float, ...]
    """What they count for in the style loss, in proportion."""
    content_similarity: float
    content_limit: float
    """Set the content loss that a style weight of `auto` holds: see `losses.content_target`."""
    paint_layers: tuple[str, str]
    """The layers whose features `paint3` and `paint4` compare: one of strokes, one of the shapes that they make."""
    weights_sha256 = ""
    """Of the file the weights came from."""
    dtype = torch.float32
    """What the convolutions compute in."""

    def prepare(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Frozen, in evaluation mode, channels-last on `device`; convolutions in `dtype`, the input's scaling in float32."""
        self.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)
        self.dtype = dtype
        return self

    @abstractmethod
    def forward(self, image_b3hw: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Features of `layers`, each (batch, channels, height, width), computed no further than the last of them.

        Args:
            image_b3hw: RGB in 0..255, float.
            layers: names of this network's layers.
        """
