import pytest
import torch
from pydantic import ValidationError

from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.nets import build_network

SIZES = [(16 + 3 * i, 16 + (7 * i) % 41) for i in range(28)] + [(1, 1), (5, 300)]


@pytest.mark.parametrize(
    ("architecture", "alpha", "weights"),
    [("johnson", 1.0, 1_677_638), ("johnson", 0.5, 424_102), ("small", 0.3, 11_868)],
)
def test_number_of_weights(architecture: str, alpha: float, weights: int) -> None:
    network = build_network(architecture, alpha)
    assert sum(parameter.numel() for parameter in network.parameters()) == weights


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), *SIZES])
@pytest.mark.parametrize("architecture", ["johnson", "small"])
def test_output_has_the_size_and_range_of_the_input(architecture: str, height: int, width: int) -> None:
    network = build_network(architecture, 0.1)
    with torch.inference_mode():
        stylized = network(torch.rand(2, 3, height, width) * 255)
    assert stylized.shape == (2, 3, height, width)
    assert 0 <= stylized.min() <= stylized.max() <= 255
    assert stylized.std() > 0 or height * width == 1


def test_in_training_it_reflects_and_sees_no_border() -> None:
    torch.manual_seed(0)
    network = build_network("small", 0.3).train()
    photo = torch.rand(1, 3, 32, 40) * 255
    x = photo / 255
    assert network(photo).shape == photo.shape
    for layer, kernel in zip(network.down, (9, 3, 3), strict=True):
        side = kernel // 2
        padded = torch.nn.functional.pad(x, (side,) * 4, mode="reflect")
        convolved = torch.nn.functional.conv2d(padded, layer.conv.weight, stride=layer.conv.stride)
        expected = layer.norm(convolved)
        torch.testing.assert_close(layer(x), expected)
        x = torch.relu(expected)
    constant = torch.full((1, 3, 32, 40), 0.5)
    assert network.down[0].conv(constant).std((2, 3)).max() < 1e-5, "a frame would show here"
    assert network.eval().down[0].conv(constant).std((2, 3)).max() > 1e-3


def test_padding_leaves_a_size_that_fits_alone() -> None:
    network = build_network("small", 0.3)
    photo = torch.rand(1, 3, 34, 45) * 255
    extended = torch.nn.functional.pad(photo, (16, 19, 16, 18), mode="reflect")
    with torch.inference_mode():
        x = extended / 255
        for layer in network.down:
            x = torch.relu(layer(x))
        x = network.residual(x)
        for layer in network.up:
            x = torch.relu(layer(x))
        expected = (torch.tanh(network.out(x)[..., 16:50, 16:61]) + 1) * 127.5
        torch.testing.assert_close(network(photo), expected)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"architecture": "huge"}, "unknown architecture 'huge'"),
        ({"alpha": 0.0}, "greater than 0"),
        ({"alpha": float("nan")}, "alpha"),
    ],
)
def test_impossible_networks_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        NetworkConfig.model_validate(settings)


def test_alpha_without_filters_names_the_least() -> None:
    with pytest.raises(UserError, match=r"use at least 0\.03125"):
        build_network("small", 0.01)
