"""Packs weights into few bytes, which page/weights.js reads. Does not depend on the page around them.

A convolution's weights are either float16, or integers in -levels..levels with a step for each of its outputs, as the
exporter's 8-bit weights are. Either way each is a code of 8 to 16 bits. The high bytes of all codes of a network come
first, then their low bits: the former are far from equally frequent, so that Huffman coding (deflate) shortens them, the
latter are noise. Norms, and steps, are float16 and stored the same way.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tinystyle.errors import UserError
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.web.plan import layers_of

__all__ = ["EXACT", "ascii85", "deflated", "pack", "rounded_weights"]

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


def pack(networks: Sequence[StyleNetwork], levels: int) -> bytes:
    """Return the weights of all networks, compressed.

    Args:
        networks: at least one.
        levels: largest integer that a weight is rounded to, from 1 to 32,767; or EXACT.

    Raises:
        UserError: a weight is too large for float16.
    """
    planes = b"".join(piece for network in networks for piece in _pieces(network, levels))
    return deflated(planes, zlib.Z_HUFFMAN_ONLY)


def rounded_weights(network: StyleNetwork, levels: int) -> dict[str, torch.Tensor]:
    """Return the state of the network as the page has it: the weights after they were rounded, float32."""
    state = {name: _half(tensor).float() for name, tensor in network.state_dict().items()}
    if levels:
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                steps, codes = _codes(module.weight.detach(), levels)
                state[f"{name}.weight"] = codes * steps.float()[:, None, None, None]
    return state


def _pieces(network: StyleNetwork, levels: int) -> list[bytes]:
    blocks = [layer.block for layer in layers_of(network)]
    norms = [block.norm.weight for block in blocks] + [block.norm.bias for block in blocks]
    weights = [block.conv.weight.detach() for block in blocks]
    if not levels:
        codes = _bits(torch.cat([weight.flatten() for weight in weights]))
        return [_planes(_bits(torch.cat(norms)), _LOW_BITS_OF_HALF), _planes(codes, _LOW_BITS_OF_HALF)]
    quantized = [_codes(weight, levels) for weight in weights]
    halves = _bits(torch.cat([*norms, *(steps for steps, _ in quantized)]))
    codes = torch.cat([codes.flatten() for _, codes in quantized]).numpy().astype(np.int64) + levels
    low = max(0, (2 * levels).bit_length() - 8)
    return [_planes(halves, _LOW_BITS_OF_HALF), _planes(codes.astype(np.uint16), low)]


def _codes(weight: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the step of each output, float16, and the weights as integers, float32."""
    steps = _half(weight.abs().flatten(1).amax(1) / levels)
    # Rounded down, a step would leave the largest weight out of reach by less than a step.
    codes = (weight / steps.float().clamp(min=1e-12)[:, None, None, None]).round().clamp(-levels, levels)
    return steps, codes


def _half(tensor: torch.Tensor) -> torch.Tensor:
    half = tensor.detach().half()
    if not half.isfinite().all():
        raise UserError("the model has weights over 65,504, which is all that the page can hold; train it again")
    return half


def _bits(tensor: torch.Tensor) -> NDArray[np.uint16]:
    bits: NDArray[np.uint16] = _half(tensor).numpy().view(np.uint16)
    return bits


def _planes(codes: NDArray[np.uint16], low: int) -> bytes:
    """Return the high bytes, then the `low` lower bits of each, the most significant bit first."""
    bits = (codes[:, None] >> np.arange(low - 1, -1, -1, dtype=np.uint16)) & 1
    return (codes >> low).astype(np.uint8).tobytes() + np.packbits(bits.astype(np.uint8)).tobytes()
