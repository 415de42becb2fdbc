import pytest
import torch

from tinystyle.errors import UserError
from tinystyle.nets import build_network
from tinystyle.nets.cost import Cost, network_cost


def cost_of(architecture: str, alpha: float, width: int = 640, height: int = 480) -> Cost:
    return network_cost(build_network(architecture, alpha), width, height)


def test_one_layer_by_hand() -> None:
    # The second convolution of small 0.3: 9 -> 9 filters, 3x3, stride 2, 672x512 with the margin -> 336x256.
    layer = next(layer for layer in cost_of("small", 0.3).layers if layer.module == "down.1.conv")
    assert layer.operation == "conv2d"
    assert layer.output_shape == (9, 256, 336)
    assert layer.weights == 9 * 9 * 3 * 3
    assert layer.macs == 336 * 256 * 9 * 9 * 3 * 3
    assert layer.activation_bytes == 2 * (9 * 672 * 512 + 9 * 336 * 256)


def test_totals_by_hand() -> None:
    photo, full, half, quarter, width = 640 * 480, 672 * 512, 336 * 256, 168 * 128, 9
    cost = cost_of("small", 0.3)
    assert cost.weights == 11_868
    assert cost.macs == (
        2 * full * 3 * width * 81  # first and last, 9x9
        + (half + quarter) * width * width * 9  # down
        + 6 * quarter * width * width * 9  # three residual blocks
        + (half + full) * width * width * 9  # up
    )
    # Images of 3 channels moved at the photo's size: divided (2), extended (1), tanh, +1, *127.5 (6); with the margin:
    # extended, conv in, conv out, norm (5).
    # Those of 9 at full size: conv out, norm, relu, conv in; upsample out, conv, norm, relu, conv in.
    # Half: (conv out, norm, relu, conv in), (upsample out, conv, norm, relu, upsample in).
    # Quarter: conv out, norm, relu: 5; a block: two convs, two norms, relu (10) and a sum (3); upsample in: 1.
    full_9, half_9, quarter_9 = (1 + 2 + 2 + 1) + (1 + 2 + 2 + 2 + 1), (1 + 2 + 2 + 1) + (1 + 2 + 2 + 2 + 1), 5 + 39 + 1
    assert cost.activation_bytes == 2 * (
        9 * 3 * photo + 5 * 3 * full + width * (full_9 * full + half_9 * half + quarter_9 * quarter)
    )


def test_layers_add_up() -> None:
    cost = cost_of("johnson", 0.5)
    assert cost.weights == sum(layer.weights for layer in cost.layers) == 424_102
    assert cost.macs == sum(layer.macs for layer in cost.layers)
    assert cost.activation_bytes == sum(layer.activation_bytes for layer in cost.layers)


def test_padding_is_work_too() -> None:
    padded, whole = cost_of("small", 0.3, 637, 477), cost_of("small", 0.3, 640, 480)
    assert padded.macs == whole.macs
    assert [layer.operation for layer in padded.layers].count("pad") == 1


def test_nothing_is_computed_and_the_network_is_untouched() -> None:
    network = build_network("small", 0.3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    # 20 TB of activations, were it computed.
    assert network_cost(network, 1_000_000, 1_000_000).macs > 10**15
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(UserError, match="0x480 pixels has no content"):
        cost_of("small", 0.3, 0)
