"""One network of many styles: a trunk that all share, and a table with a vector for each style.

The vector of a style is the scales and shifts of all instance norms (conditional instance norm, Dumoulin et al.,
arXiv:1610.07629): 204 numbers for `small` 0.3. With it in its norms, the trunk is an ordinary `StyleNetwork`. Does not
depend on losses, training or files.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tinystyle.nets.blocks import InstanceNorm, StyleNetwork

__all__ = ["BlendingNetwork", "StyledNetwork", "norm_shapes", "second_input", "style_vector", "with_style_vector"]


def norm_shapes(network: StyleNetwork) -> dict[str, int]:
    """Return the parameters that make up a style vector, in its order: name of the parameter -> number of values.

    Those of each instance norm are together, first its scale, then its shift; norms are in the order of the modules.
    """
    return {
        f"{name}.{part}": module.num_features
        for name, module in network.named_modules()
        if isinstance(module, InstanceNorm)
        for part in ("weight", "bias")
    }


def style_vector(network: StyleNetwork) -> Tensor:
    """Return the scales and shifts of all instance norms of a network, (K,)."""
    return torch.cat([network.get_parameter(name).detach() for name in norm_shapes(network)])


def with_style_vector(network: StyleNetwork, style_k: Tensor) -> StyleNetwork:
    """Return a copy of a network with the scales and shifts of `style_k`, (K,), in its instance norms."""
    styled = copy.deepcopy(network)
    with torch.no_grad():
        for name, part in _parts(styled, style_k).items():
            styled.get_parameter(name).copy_(part)
    return styled


class StyledNetwork(nn.Module):
    """A network that takes the style as its second input.

    Args:
        trunk: the network that all styles share; what is in its instance norms is not used.
        styles_sk: a vector for each style, (styles, K).

    Attributes:
        trunk: the network that all styles share.
        styles: the table of style vectors, a parameter of shape (styles, K).
    """

    def __init__(self, trunk: StyleNetwork, styles_sk: Tensor) -> None:
        super().__init__()
        self.trunk = trunk
        for name in norm_shapes(trunk):
            trunk.get_parameter(name).requires_grad_(False)
        self.styles = nn.Parameter(styles_sk.detach().clone())

    @classmethod
    def of(cls, networks: list[StyleNetwork]) -> StyledNetwork:
        """Return the network with the convolutions of the first of `networks` and the norms of each of them."""
        return cls(networks[0], torch.stack([style_vector(network) for network in networks]))

    @property
    def stride(self) -> int:
        """Number of which the trunk's input sides are multiples."""
        return self.trunk.stride

    def forward(self, photo_b3hw: Tensor, style_bk: Tensor) -> Tensor:
        """Stylize RGB photos in 0..255, each in a style of its own; the output has the same shape and range.

        Args:
            photo_b3hw: photos, float, of any size.
            style_bk: style vectors: rows of `styles`, or mixtures of them.
        """
        return self.forward_with_preactivation(photo_b3hw, style_bk)[0]

    def forward_with_preactivation(self, photo_b3hw: Tensor, style_bk: Tensor) -> tuple[Tensor, Tensor]:
        """Return the result of `forward`, and the input of the output tanh, which has the same shape."""
        with _lent(self.trunk, _parts(self.trunk, style_bk)):
            return self.trunk.forward_with_preactivation(photo_b3hw)

    def plain(self, style_k: Tensor) -> StyleNetwork:
        """Return an ordinary network of one style, or of a mixture: the trunk with `style_k`, (K,), in its norms."""
        return with_style_vector(self.trunk, style_k)

    def mixed(self, shares: Mapping[int, float]) -> Tensor:
        """Return the mean of rows of the table, (K,), with the weights `shares`, by row, which add up to 1."""
        if len(shares) == 1:  # to the bit
            return self.styles[next(iter(shares))].detach()
        return sum((share * self.styles[row].detach() for row, share in shares.items()), torch.zeros(()))

    def shared(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what all styles share, by name in the trunk: its state without the norms."""
        own = norm_shapes(self.trunk)
        return ((name, value) for name, value in self.trunk.state_dict().items() if name not in own)


class BlendingNetwork(nn.Module):
    """A network that takes the share of each style as its second input, and has the table of styles as weights.

    The table is the kernel of a convolution of 1x1, from the shares to the vector: so whatever stores, quantizes and checks
    convolutions does so with the table.

    Args:
        network: the network of many styles.
    """

    def __init__(self, network: StyledNetwork) -> None:
        super().__init__()
        count, length = network.styles.shape
        # What is in the trunk's norms is not used; ones and zeros are what a norm without scale and shift is stored with.
        self.trunk = with_style_vector(network.trunk, torch.zeros(length))
        self.stride = network.stride
        for name in norm_shapes(self.trunk):
            self.trunk.get_parameter(name).data.fill_(float(name.endswith("weight")))
        self.table = nn.Conv2d(count, length, 1, bias=False)
        self.table.weight = nn.Parameter(network.styles.detach().T[:, :, None, None].contiguous())

    def forward(self, photo_b3hw: Tensor, shares_bs11: Tensor) -> Tensor:
        """Stylize RGB photos in 0..255, float.

        Args:
            photo_b3hw: photos of any size.
            shares_bs11: share of each style, (batch, styles, 1, 1); shares of 1 and 0 choose a style, others that add up to
                1 blend styles.
        """
        style_bk11, end = self.table(shares_bs11), 0
        parts: dict[str, Tensor] = {}
        for name, length in norm_shapes(self.trunk).items():
            parts[name] = style_bk11[:, end : end + length]
            end += length
        with _lent(self.trunk, parts):
            stylized: Tensor = self.trunk(photo_b3hw)
        return stylized


def second_input(network: nn.Module) -> tuple[Tensor, ...]:
    """Return an example of what a network takes beside the photo: shares (1, styles, 1, 1), or nothing."""
    return (torch.zeros(1, network.table.in_channels, 1, 1),) if isinstance(network, BlendingNetwork) else ()


@contextmanager
def _lent(network: StyleNetwork, parts: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a network's norms these scales and shifts during the block.

    torch's `functional_call` does the same, but not while a network is traced, as it is to be exported.
    """
    norms = dict(network.named_modules())
    places = {name: (norms[name.rpartition(".")[0]]._parameters, name.rpartition(".")[2]) for name in parts}
    own = {name: held[part] for name, (held, part) in places.items()}
    try:
        for name, (held, part) in places.items():
            held[part] = parts[name]
        yield
    finally:
        for name, (held, part) in places.items():
            held[part] = own[name]


def _parts(network: StyleNetwork, style: Tensor) -> dict[str, Tensor]:
    """Split style vectors, (K,) or (batch, K), into scales and shifts, by the names of the network's parameters."""
    shapes = norm_shapes(network)
    return dict(zip(shapes, torch.split(style, list(shapes.values()), dim=-1), strict=True))
