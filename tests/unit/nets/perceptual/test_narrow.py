"""The narrow loss network: what it computes, what its file says, and how near it is to VGG16."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.support.places import REPOSITORY
from tinystyle.data.photos import photo_tensor
from tinystyle.errors import UserError
from tinystyle.model_file import load_model
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.gram import gram_matrix
from tinystyle.nets.perceptual.narrow import COMPONENTS, WEIGHTS, Narrow
from tinystyle.styles import load_style

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


@pytest.fixture(scope="module")
def narrow() -> Narrow:
    network = load_perceptual_network("narrow").prepare(torch.device("cpu"), torch.float32)
    assert isinstance(network, Narrow)
    return network


@pytest.mark.parametrize("size", [(64, 64), (37, 45)])
def test_its_features_lie_at_vgg16_s_positions(narrow: Narrow, size: tuple[int, int]) -> None:
    found = narrow(torch.rand(2, 3, *size) * 255, LAYERS)
    for index, (name, x_bchw) in enumerate(found.items()):
        assert x_bchw.shape == (2, COMPONENTS[name], *(side // 2**index for side in size))
        alone = narrow(torch.rand(1, 3, *size) * 255, {name})
        assert set(alone) == {name}


def test_its_file_is_small_and_says_where_it_comes_from() -> None:
    assert WEIGHTS.stat().st_size < 2_500_000
    with safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
    assert "VGG16" in metadata["source"]
    assert "CC BY 4.0" in metadata["license"]
    assert "narrow.safetensors" in (REPOSITORY / "NOTICE").read_text()


def test_another_network_s_weights_and_layers_are_refused(narrow: Narrow, tmp_path: Path) -> None:
    torch.save({"first.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"does not hold the loss network narrow; .* vgg16"):
        load_perceptual_network("narrow", str(tmp_path / "other.pth"))
    with pytest.raises(UserError, match="narrow has no layers"):
        narrow(torch.rand(1, 3, 32, 32), {"relu9"})


@pytest.fixture(scope="module")
def vgg16(shared_data: Path) -> PerceptualNetwork:
    weights = next((shared_data / "weights").glob("vgg16*.safetensors"))
    return load_perceptual_network("vgg16", str(weights)).prepare(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def pictures(shared_data: Path) -> Tensor:
    """Four photographs, and what three networks make of them."""
    files = sorted((shared_data / "photos").iterdir())[:4]
    photos = [photo_tensor(load_style(str(file), 160))[..., :160, :160] for file in files]
    painters = [load_model(f"pretrained:{name}").network for name in ("starry-night", "great-wave", "shipwreck")]
    with torch.no_grad():
        return torch.cat(photos + [painter(photo) for painter in painters for photo in photos])


def test_it_tells_pictures_apart_as_vgg16_does(narrow: Narrow, vgg16: PerceptualNetwork, pictures: Tensor) -> None:
    """The distances of all pairs, in features and in Gram matrices."""
    with torch.no_grad():
        features = [network(pictures, LAYERS) for network in (vgg16, narrow)]
    for layer, least in zip(LAYERS, (0.99, 0.98, 0.97, 0.88), strict=True):
        grams = [gram_matrix(each[layer]) for each in features]
        assert correlation(*map(distances, grams)) > least, layer
        assert correlation(*(distances(each[layer]) for each in features)) > least, layer


def test_it_pulls_a_picture_where_vgg16_does(narrow: Narrow, vgg16: PerceptualNetwork, pictures: Tensor) -> None:
    """The gradients by which photographs become like pictures; narrow's has no grid of its own, which would be painted."""
    photos, others = pictures[:4], pictures[4:8]
    for layer, least in zip(LAYERS, (0.95, 0.8, 0.55, 0.3), strict=True):
        gradients = []
        for network in (vgg16, narrow):
            image = photos.clone().requires_grad_()
            of_others = gram_matrix(network(others, {layer})[layer])
            loss = (gram_matrix(network(image, {layer})[layer]) - of_others).square().sum()
            gradients.append(torch.autograd.grad(loss, image)[0])
        assert torch.cosine_similarity(*(gradient.flatten(1) for gradient in gradients)).mean() > least, layer
        assert of_period_two(gradients[1]) < 1.5, layer


def of_period_two(image_b3hw: Tensor) -> float:
    """Power of patterns with a period of two pixels; 1 in white noise."""
    power_bhw = torch.fft.fft2(image_b3hw).abs().square().sum(1)
    middle = [side // 2 for side in power_bhw.shape[1:]]
    at_points_b = sum(power_bhw[:, row, column] for row, column in ((0, middle[1]), (middle[0], 0), middle))
    assert isinstance(at_points_b, Tensor)
    return float((at_points_b / 3 / power_bhw.mean((1, 2))).mean())


def distances(of_pictures: Tensor) -> Tensor:
    """The logarithms of the distances of all pairs."""
    return torch.pdist(of_pictures.flatten(1)).log()


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])
