"""The narrow loss network: what it computes, what its file says, and how near it is to VGG16."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.places import REPOSITORY
from tinystyle.data.photos import photo_tensor
from tinystyle.errors import UserError
from tinystyle.model_file import load_model
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import gram_matrix
from tinystyle.nets.perceptual.narrow import SCALE, WEIGHTS, Narrow
from tinystyle.nets.perceptual.vgg16 import MEAN_RGB
from tinystyle.styles import load_style

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


@pytest.fixture(scope="module")
def narrow() -> Narrow:
    network = load_perceptual_network("narrow").prepare(torch.device("cpu"), torch.float32)
    assert isinstance(network, Narrow)
    return network


def of_pixels(narrow: Narrow, image_b3hw: Tensor) -> dict[str, Tensor]:
    """The features, those of four pixels computed by a convolution of the image itself, relu1_2 at its pixel."""
    x = (image_b3hw - torch.tensor(MEAN_RGB).view(1, 3, 1, 1)) * SCALE
    kernel = narrow.first.weight.reshape(-1, 3, 2, 2, 3, 3).permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)
    x = F.relu(F.conv2d(x, kernel, narrow.first.bias, stride=2, padding=2))
    of_pixels = narrow.heads["relu1_2"](x).unflatten(1, (4, 32)).transpose(1, 2).flatten(1, 2)
    features = {"relu1_2": F.pixel_shuffle(of_pixels, 2)}
    x = x.unflatten(1, (4, 32)).amax(1)
    for index, (name, block) in enumerate(narrow.blocks.items()):
        x = F.max_pool2d(x, 2) if index else x
        assert isinstance(block, nn.Sequential)
        for convolution in block:
            x = F.relu(convolution(x))
        features[name] = narrow.heads[name](x)
    return features


@pytest.mark.parametrize("size", [(64, 64), (50, 70), (37, 45)])
def test_its_features_are_those_of_plain_convolutions(narrow: Narrow, size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size) * 255
    even = [2 * (side // 2) for side in size]  # the last row and column of an odd side are not seen
    found, expected = narrow(image, LAYERS), of_pixels(narrow, image[..., : even[0], : even[1]])
    assert found["relu1_2"].shape == (2, 32, even[0] // 2, 2 * even[1])
    for name in LAYERS[1:]:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-3)
    ours, theirs = found["relu1_2"], expected["relu1_2"]
    torch.testing.assert_close(gram_matrix(ours), gram_matrix(theirs), rtol=1e-3, atol=1e-4)
    ordered = (each.flatten(2).sort(2).values for each in (ours, theirs))
    torch.testing.assert_close(*ordered, rtol=1e-3, atol=1e-3)


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


def test_it_tells_pictures_apart_as_vgg16_does(narrow: Narrow, shared_data: Path) -> None:
    """Photographs and what networks make of them: the distances of all pairs, in features and in Gram matrices."""
    weights = next((shared_data / "weights").glob("vgg16*.safetensors"))
    teacher = load_perceptual_network("vgg16", str(weights)).prepare(torch.device("cpu"), torch.float32)
    files = sorted((shared_data / "photos").iterdir())[:4]
    photos = [photo_tensor(load_style(str(file), 160))[..., :160, :160] for file in files]
    painters = [load_model(f"pretrained:{name}").network for name in ("starry-night", "great-wave", "shipwreck")]
    with torch.no_grad():
        pictures = torch.cat(photos + [painter(photo) for painter in painters for photo in photos])
        features = [network(pictures, LAYERS) for network in (teacher, narrow)]
    for layer, least in zip(LAYERS, (0.99, 0.97, 0.93, 0.7), strict=True):
        grams = [gram_matrix(each[layer]) for each in features]
        assert correlation(*map(distances, grams)) > least, layer
        if layer != "relu1_2":  # whose positions are in another order
            assert correlation(*(distances(each[layer]) for each in features)) > least, layer


def distances(of_pictures: Tensor) -> Tensor:
    """The logarithms of the distances of all pairs."""
    return torch.pdist(of_pictures.flatten(1)).log()


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])
