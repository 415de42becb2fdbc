"""Packs weights into few bytes, which page/weights.js reads. Does not depend on the page around them.

A convolution's weights are either float16, or integers in -levels..levels with a step for each of its outputs, as the
exporter's 8-bit weights are. Either way each is a code of 8 to 16 bits. The high bytes of all codes of a network come
first, then their low bits: the former are far from equally frequent, so that Huffman coding (deflate) shortens them, the
latter are noise. Norms, and steps, are float16 and stored the same way. Convolutions that several styles share are stored with
the first of them.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinystyle.errors import UserError
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.web.plan import Layer, layers_of
from tinystyle.web.rounding import rounded

__all__ = ["EXACT", "ascii85", "deflated", "originals", "pack", "rounded_weights"]

EXACT = 0
"""In place of a number of levels: weights are float16."""
_LOW_BITS_OF_HALF = 8
_ALPHABET = bytes.maketrans(b"<", b"/")
"""base64.b85encode's `<` could begin an HTML comment inside a script; `/` is not in its alphabet."""


def ascii85(data: bytes) -> str:
    """Return the bytes as text that may stand inside an HTML script: 5 characters for 4 bytes."""
    return base64.b85encode(data).translate(_ALPHABET).decode()


def deflated(data: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Return the bytes compressed, without a header (deflate-raw)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, strategy)
    return compressor.compress(data) + compressor.flush()


def pack(
    networks: Sequence[StyleNetwork], levels: int, correlated: Sequence[Sequence[Tensor] | None] | None = None
) -> bytes:
    """Return the weights of all networks, compressed.

    Args:
        networks: at least one.
        levels: largest integer that a weight is rounded to, from 1 to 32,767; or EXACT.
        correlated: `rounding.correlations` of each network, for a better rounding.

    Raises:
        UserError: a weight is too large for float16.
    """
    known = correlated or [None] * len(networks)
    planes = b""
    for at, (network, of_it, first) in enumerate(zip(networks, known, originals(networks), strict=True)):
        planes += b"".join(
            _pieces(network, levels, of_it) if first == at else [_planes(_norms(network), _LOW_BITS_OF_HALF)]
        )
    return deflated(planes, zlib.Z_HUFFMAN_ONLY)


def originals(networks: Sequence[StyleNetwork]) -> list[int]:
    """Return for each network the index of the first that has the same convolutions, to the bit."""
    kernels = [[layer.block.conv.weight for layer in layers_of(network)] for network in networks]
    return [next(i for i, other in enumerate(kernels) if _same(other, own)) for own in kernels]


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def rounded_weights(
    network: StyleNetwork, levels: int, correlated: Sequence[Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the state of the network as the page has it: the weights after they were rounded, float32."""
    state = {name: _half(tensor).float() for name, tensor in network.state_dict().items()}
    if levels:
        layers = layers_of(network)
        names = {id(module): name for name, module in network.named_modules()}
        for layer, (steps, codes) in zip(layers, _rounded(layers, levels, correlated), strict=True):
            state[f"{names[id(layer.block.conv)]}.weight"] = codes * steps.float()[:, None, None, None]
    return state


def _rounded(layers: Sequence[Layer], levels: int, correlated: Sequence[Tensor] | None) -> list[tuple[Tensor, Tensor]]:
    known: Sequence[Tensor | None] = correlated or [None] * len(layers)
    return [rounded(layer.block.conv.weight, levels, of_it) for layer, of_it in zip(layers, known, strict=True)]


def _pieces(network: StyleNetwork, levels: int, correlated: Sequence[Tensor] | None) -> list[bytes]:
    layers, norms = layers_of(network), _norms(network)
    if not levels:
        weights = _bits(torch.cat([layer.block.conv.weight.flatten() for layer in layers]))
        return [_planes(each, _LOW_BITS_OF_HALF) for each in (norms, weights)]
    quantized = _rounded(layers, levels, correlated)
    halves = np.concatenate([norms, _bits(torch.cat([steps for steps, _ in quantized]))])
    codes = torch.cat([codes.flatten() for _, codes in quantized]).numpy().astype(np.int64) + levels
    low = max(0, (2 * levels).bit_length() - 8)
    return [_planes(halves, _LOW_BITS_OF_HALF), _planes(codes.astype(np.uint16), low)]


def _norms(network: StyleNetwork) -> NDArray[np.uint16]:
    norms = [layer.block.norm for layer in layers_of(network)]
    return _bits(torch.cat([*(norm.weight for norm in norms), *(norm.bias for norm in norms)]))


def _half(tensor: Tensor) -> Tensor:
    half = tensor.detach().half()
    if not half.isfinite().all():
        raise UserError("the model has weights over 65,504, which is all that the page can hold; train it again")
    return half


def _bits(tensor: Tensor) -> NDArray[np.uint16]:
    bits: NDArray[np.uint16] = _half(tensor).numpy().view(np.uint16)
    return bits


def _planes(codes: NDArray[np.uint16], low: int) -> bytes:
    """Return the high bytes, then the `low` lower bits of each, the most significant bit first."""
    bits = (codes[:, None] >> np.arange(low - 1, -1, -1, dtype=np.uint16)) & 1
    return (codes >> low).astype(np.uint8).tobytes() + np.packbits(bits.astype(np.uint8)).tobytes()
