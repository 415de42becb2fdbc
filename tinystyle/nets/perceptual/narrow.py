"""VGG16 distilled into 1 MB: a loss network that comes with tinystyle. An experiment (benchmarks/narrow.md).

Its features are the principal components of VGG16's: with the orthonormal rows of P spanning the components of a layer
that hold most of the features' energy, `relu3_3` here is about P relu3_3 of VGG16. Distances between such features, and
between their Gram matrices (Gram(P x) = P Gram(x) P^T), are therefore about those of VGG16. Weights and P are made by
benchmarks/distill.py.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.errors import UserError
from tinystyle.nets.perceptual import PERCEPTUAL_NETWORKS
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.vgg16 import MEAN_RGB
from tinystyle.nets.perceptual.weights import load_weights

__all__ = ["Narrow", "load"]

WEIGHTS = Path(__file__).with_name("narrow.safetensors")
SCALE = 1 / 64
BLOCKS = {"relu1_2": (16, 32), "relu2_2": (48, 48), "relu3_3": (96, 96, 96), "relu4_3": (160, 160, 160)}
"""By layer, the widths of the 3x3 convolutions of its block; each block except the first follows a 2x2 max pooling."""
COMPONENTS = {"relu1_2": 32, "relu2_2": 32, "relu3_3": 64, "relu4_3": 128}
"""Principal components of VGG16's 64, 128, 256 and 512 features."""


class Narrow(PerceptualNetwork):
    """Provides relu1_2, relu2_2, relu3_3 and relu4_3: principal components of VGG16's layers, of either sign."""

    name = "narrow"
    content_layer = "relu3_3"
    style_layers = PERCEPTUAL_NETWORKS[name].style_layers
    style_layer_weights = (1.0, 1.0, 1.0, 1.0)
    content_similarity, content_limit = 0.7, 0.82
    paint_layers = ("relu3_3", "relu4_3")

    def __init__(self) -> None:
        super().__init__()
        self.mean_3: Tensor
        self.register_buffer("mean_3", torch.tensor(MEAN_RGB), persistent=False)
        self.blocks = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        channels = 3
        for name, widths in BLOCKS.items():
            convolutions = []
            for width in widths:
                convolutions.append(nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            self.blocks[name] = nn.Sequential(*convolutions)
            self.heads[name] = nn.Conv2d(channels, COMPONENTS[name], 1)

    def forward(self, image_b3hw: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        if unknown := set(layers) - set(COMPONENTS):
            raise UserError(f"{self.name} has no layers {sorted(unknown)}")
        features: dict[str, Tensor] = {}
        x_bchw = ((image_b3hw.float() - self.mean_3.view(1, 3, 1, 1)) * SCALE).to(self.dtype)
        for name, block in self.blocks.items():
            if len(features) == len(layers):
                break
            if name != "relu1_2":
                x_bchw = F.max_pool2d(x_bchw, 2)
            assert isinstance(block, nn.Sequential)
            for convolution in block:
                x_bchw = F.relu(convolution(x_bchw), inplace=True)
            if name in layers:
                features[name] = self.heads[name](x_bchw)
        return features


def source(weights: str | None = None) -> str:
    """Return where the weights come from: `weights`, or the file in this package."""
    return weights or str(WEIGHTS)


def load(weights: str | None = None) -> Narrow:
    """Load the network with the weights of this package, or with those at `weights` (same keys).

    Raises:
        UserError: the weights are not available, or are not those of this network.
    """
    place = source(weights)
    state, digest = load_weights("narrow", place)
    network = Narrow()
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except RuntimeError as error:
        raise UserError(
            f"{place} does not hold the loss network narrow; weights of another one need its name, such as `perceptual` vgg16"
        ) from error
    network.weights_sha256 = digest
    return network
