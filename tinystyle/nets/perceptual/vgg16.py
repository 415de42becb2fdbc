"""VGG16's convolutions (Simonyan & Zisserman, arXiv:1409.1556) up to relu4_3: the loss network of Johnson et al."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.errors import UserError
from tinystyle.nets.perceptual import PERCEPTUAL_NETWORKS
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.weights import OfficialWeights, load_weights

__all__ = ["VGG16", "load"]

OFFICIAL = OfficialWeights(
    # VGG16_Weights.IMAGENET1K_FEATURES of torchvision, 57 MB; the name ends with the start of its SHA-256.
    url="https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth",
    sha256_prefix="88682ab5",
)
MEAN_RGB = (123.68, 116.779, 103.939)
# Blocks of 3x3 convolutions with ReLU; each block except the first follows a 2x2 max pooling.
BLOCKS = (
    ("relu1_1", "relu1_2"),
    ("relu2_1", "relu2_2"),
    ("relu3_1", "relu3_2", "relu3_3"),
    ("relu4_1", "relu4_2", "relu4_3"),
)
WIDTHS = (64, 128, 256, 512)


class VGG16(PerceptualNetwork):
    """Provides the layers relu1_1 to relu4_3; the input is RGB 0..255 minus the ImageNet mean, without scaling."""

    name = "vgg16"
    content_layer = "relu3_3"
    style_layers = PERCEPTUAL_NETWORKS[name].style_layers
    style_layer_weights = (1.0, 1.0, 1.0, 1.0)
    content_similarity, content_limit = 0.62, 1.0
    paint_layers = ("relu3_3", "relu4_3")

    def __init__(self) -> None:
        super().__init__()
        self.mean_3: Tensor
        self.register_buffer("mean_3", torch.tensor(MEAN_RGB), persistent=False)
        self.features = nn.ModuleDict()
        channels = 3
        for names, width in zip(BLOCKS, WIDTHS, strict=True):
            for name in names:
                self.features[name] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width

    def forward(self, image_b3hw: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        x_bchw = (image_b3hw.float() - self.mean_3.view(1, 3, 1, 1)).to(self.dtype)
        features: dict[str, Tensor] = {}
        for names in BLOCKS:
            for name in names:
                if name == names[0] and names is not BLOCKS[0]:
                    x_bchw = F.max_pool2d(x_bchw, 2)
                x_bchw = F.relu(self.features[name](x_bchw))
                if name in layers:
                    features[name] = x_bchw
                if len(features) == len(layers):
                    return features
        raise UserError(f"vgg16 has no layers {sorted(set(layers) - set(features))}")


def source(weights: str | None = None) -> str | OfficialWeights:
    """Return where the weights come from: `weights`, or the official file."""
    return weights or OFFICIAL


def load(weights: str | None = None) -> VGG16:
    """Load VGG16 with the official weights, or those at `weights` (keys `features.N.weight` as in torchvision).

    Raises:
        UserError: the weights are not available, or are not those of VGG16.
    """
    state, digest = load_weights("vgg16", source(weights))
    network = VGG16()
    network.weights_sha256 = digest
    # torchvision's index within `features` counts convolutions, ReLUs and poolings.
    index = 0
    with torch.no_grad():
        for names in BLOCKS:
            for name in names:
                convolution = network.features[name]
                assert isinstance(convolution, nn.Conv2d)
                for kind, parameter in (("weight", convolution.weight), ("bias", convolution.bias)):
                    key = f"features.{index}.{kind}" if f"features.{index}.{kind}" in state else f"{index}.{kind}"
                    tensor = state.get(key)
                    assert parameter is not None
                    if tensor is None or tensor.shape != parameter.shape:
                        raise UserError(
                            f"{weights or OFFICIAL.url} does not hold VGG16: features.{index}.{kind} of shape "
                            f"{tuple(parameter.shape)} is missing"
                        )
                    parameter.copy_(tensor)
                index += 2
            index += 1
    return network
