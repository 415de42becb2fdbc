"""The interface of all loss networks: the features of named layers. Does not depend on losses."""

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
    """Key of the network in `tinystyle.nets.perceptual.PERCEPTUAL_NETWORKS`."""
    content_layer: str
    """The layer whose features the content loss compares."""
    style_layers: tuple[str, ...]
    """The layers whose Gram matrices the style loss compares."""
    style_layer_weights: tuple[float, ...]
    """Relative weights of these layers in the style loss."""
    content_similarity: float
    """Argument `similarity` of `content_target`, which gives the content loss that style weight `auto` aims at."""
    content_limit: float
    """Argument `limit` of `content_target`."""
    paint_layers: tuple[str, str]
    """The layers on which `paint3` and `paint4` are measured: one responds to strokes, one to the shapes they form."""
    weights_sha256 = ""
    """SHA-256 of the file that the weights came from."""
    dtype = torch.float32
    """Number format in which the convolutions compute."""

    def prepare(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Freeze the network in evaluation mode, channels-last on `device`, with convolutions in `dtype`; return it.

        The scaling of the input is computed in float32.
        """
        self.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)
        self.dtype = dtype
        return self

    @abstractmethod
    def forward(self, image_b3hw: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the features of `layers`, each (batch, channels, height, width), computing no further than the last.

        Args:
            image_b3hw: RGB in 0..255, float.
            layers: names of this network's layers.

        Raises:
            UserError: a name is not one of this network's layers.
        """
