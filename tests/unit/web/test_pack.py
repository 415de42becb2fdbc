"""Weights in few bytes: what a page has is what was rounded, and the text can stand in a script."""

from __future__ import annotations

import base64
import copy
import zlib

import numpy as np
import pytest
import torch

from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.web.pack import EXACT, ascii85, deflated, originals, pack, rounded_weights
from tinystyle.web.plan import layers_of


@pytest.fixture
def network() -> StyleNetwork:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(alpha=0.1).architecture, 0.1)
    for name, parameter in network.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(-1, 1)
    return network.eval()


def unpacked(data: bytes, counts: list[tuple[int, int]]) -> list[np.ndarray]:
    """The codes in a pack: (number of codes, low bits) of each run of them."""
    bytes_, runs, at = np.frombuffer(zlib.decompress(data, -15), np.uint8), [], 0
    for count, low in counts:
        high, at = bytes_[at : at + count].astype(int), at + count
        size = -(-count * low // 8)
        bits, at = np.unpackbits(bytes_[at : at + size])[: count * low].reshape(count, low), at + size
        runs.append((high << low) + bits @ (1 << np.arange(low)[::-1]))
    assert at == len(bytes_)
    return runs


@pytest.mark.parametrize("levels", [31, 127, 128, 1000, 3968])
def test_codes_times_steps_are_the_rounded_weights(network: StyleNetwork, levels: int) -> None:
    weights = [module.weight for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    channels, count = sum(len(weight) for weight in weights), sum(weight.numel() for weight in weights)
    low = max(0, (2 * levels).bit_length() - 8)
    halves, codes = unpacked(pack([network], levels), [(3 * channels, 8), (count, low)])
    steps = halves.astype(np.uint16).view(np.float16)[2 * channels :].astype(np.float32)
    per_weight = np.concatenate(
        [np.repeat(steps[at : at + len(w)], w[0].numel()) for w, at in zip(weights, _starts(weights), strict=True)]
    )
    rounded = rounded_weights(network, levels)
    expected = torch.cat([rounded[n].flatten() for n in rounded if "conv" in n]).numpy()
    np.testing.assert_array_equal((codes - levels) * per_weight, expected)
    error = np.abs(expected - torch.cat([w.detach().flatten() for w in weights]).numpy())
    assert (error <= 0.5 * per_weight + 1e-3 * levels * per_weight).all(), "half a step, and that steps are float16"


def test_convolutions_that_styles_share_are_stored_once(network: StyleNetwork) -> None:
    other, unlike = copy.deepcopy(network), copy.deepcopy(network)
    for name, parameter in other.named_parameters():
        if "norm" in name:
            parameter.data.uniform_(-1, 1)
    unlike.out.conv.weight.data[0, 0, 0, 0] += 1
    assert originals([network, other, unlike, other, unlike]) == [0, 0, 2, 0, 2]
    weights = [module.weight for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    channels, count = sum(len(weight) for weight in weights), sum(weight.numel() for weight in weights)
    for levels, low in ((EXACT, 8), (127, 0)):
        own = (2 if levels == EXACT else 3) * channels
        *_, norms = unpacked(pack([network, other], levels), [(own, 8), (count, low), (2 * channels, 8)])
        expected = torch.cat([m.weight for m in norms_of(other)] + [m.bias for m in norms_of(other)])
        np.testing.assert_array_equal(norms.astype(np.uint16).view(np.float16), expected.detach().half().numpy())


def norms_of(network: StyleNetwork) -> list[torch.nn.InstanceNorm2d]:
    return [layer.block.norm for layer in layers_of(network)]


def _starts(weights: list[torch.Tensor]) -> list[int]:
    return [sum(len(each) for each in weights[:i]) for i in range(len(weights))]


def test_exact_weights_are_float16(network: StyleNetwork) -> None:
    rounded = rounded_weights(network, EXACT)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(rounded[name], tensor.half().float(), rtol=0, atol=0)
    assert len(pack([network], EXACT)) > len(pack([network], 1023)) > len(pack([network], 127))


def test_a_weight_that_float16_cannot_hold_is_refused(network: StyleNetwork) -> None:
    network.out.norm.weight.data[0] = 1e6
    with pytest.raises(UserError, match=r"65,504.*train it again"):
        pack([network], 127)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000, 1003])
def test_text_has_nothing_that_ends_a_script_and_leads_back_to_the_bytes(size: int) -> None:
    data = np.random.default_rng(0).bytes(size)
    text = ascii85(data)
    assert "<" not in text
    assert base64.b85decode(text.replace("/", "<")) == data
    assert zlib.decompress(deflated(data), -15) == data
