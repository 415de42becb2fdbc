from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tinystyle.errors import UserError
from tinystyle.nets.perceptual import PERCEPTUAL_NETWORKS, load_perceptual_network
from tinystyle.nets.perceptual.vgg16 import VGG16
from tinystyle.nets.perceptual.weights import OfficialWeights, load_weights


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights under torchvision's names, saved as the official file is."""
    torch.manual_seed(0)
    state, channels = {}, 3
    for index, width in zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21), (64, 64, 128, 128, *[256] * 3, *[512] * 3), strict=True
    ):
        state[f"features.{index}.weight"] = torch.randn(width, channels, 3, 3) / (9 * channels) ** 0.5
        state[f"features.{index}.bias"] = torch.randn(width)
        channels = width
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save(state, path)
    return path


def test_vgg16_is_torchvisions_layers_up_to_relu4_3(vgg_file: Path) -> None:
    network = load_perceptual_network("vgg16", str(vgg_file))
    state = torch.load(vgg_file, weights_only=True)
    image = torch.rand(1, 3, 32, 32) * 255
    x, expected = image - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1), {}
    # The indices of torchvision's vgg16().features: convolution, ReLU, ..., pooling.
    plan = {0: "", 2: "relu1_2", 5: "", 7: "relu2_2", 10: "", 12: "", 14: "relu3_3", 17: "", 19: "", 21: "relu4_3"}
    for index, name in plan.items():
        if index in (5, 10, 17):
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], padding=1))
        if name:
            expected[name] = x
    features = network(image, set(network.style_layers))
    assert list(features) == list(network.style_layers)
    for name in features:
        torch.testing.assert_close(features[name], expected[name])


@pytest.mark.parametrize("name", PERCEPTUAL_NETWORKS)
def test_nothing_is_computed_beyond_the_last_layer(name: str, vgg_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_perceptual_network(name, str(vgg_file) if name == "vgg16" else None)
    calls = 0
    real = F.conv2d

    def counting(*args: object, **kwargs: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(F, "conv2d", counting)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda *_: None)
    image = torch.rand(1, 3, 64, 64) * 255
    network(image, {network.style_layers[0]})
    first = calls
    network(image, set(network.style_layers))
    assert calls - first > first


def test_efficientnet_features_have_the_strides_of_the_paper() -> None:
    network = load_perceptual_network("efficientnet-lite0")
    network.prepare(torch.device("cpu"), torch.float32)
    features = network(torch.rand(1, 3, 64, 96) * 255, set(network.style_layers))
    shapes = {name: tuple(f.shape[1:]) for name, f in features.items()}
    assert shapes == {
        "stem": (32, 32, 48),
        "block1.expand": (96, 32, 48),
        "block3.expand": (144, 16, 24),
        "block5.expand": (240, 8, 12),
    }
    assert all(float(f.min()) >= 0 and float(f.max()) <= 6 for f in features.values())


def test_bfloat16_changes_features_by_little() -> None:
    image = torch.rand(1, 3, 64, 64) * 255
    network = load_perceptual_network("efficientnet-lite0")
    layer = network.content_layer
    exact = network.prepare(torch.device("cpu"), torch.float32)(image, {layer})[layer]
    coarse = network.prepare(torch.device("cpu"), torch.bfloat16)(image, {layer})[layer]
    assert coarse.dtype == torch.bfloat16
    assert float((coarse.float() - exact).norm() / exact.norm()) < 0.05


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="choose one of"):
        load_perceptual_network("vgg19")
    with pytest.raises(UserError, match="no layers"):
        load_perceptual_network("efficientnet-lite0")(torch.rand(1, 3, 32, 32), {"relu9"})


def test_missing_weights_name_the_two_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`perceptual_weights`, .*`perceptual` narrow"):
        load_perceptual_network("vgg16", str(tmp_path / "none.pth"))


def test_the_official_file_is_checked_by_its_hash(vgg_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "vgg.pth"
    copy.write_bytes(vgg_file.read_bytes())
    with pytest.raises(UserError, match=r"SHA-256 .* expected 88682ab5"):
        load_weights("vgg16", OfficialWeights(str(copy), "88682ab5"))
    assert not copy.exists()  # so that the next attempt fetches it again


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is an empty file; fetch it again"),
        (b"not weights", r"is not a \.safetensors or \.pth file"),
        (b"\x80\x04cos\nsystem\n(S'true'\ntR.", r"is not a \.safetensors or \.pth file"),
    ],
)
def test_what_is_no_file_of_tensors_is_refused(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=what):
        load_perceptual_network("vgg16", str(path))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(UserError, match=r"does not hold VGG16: features.0.bias"):
        load_perceptual_network("vgg16", str(path))
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="dictionary of tensors"):
        load_perceptual_network("efficientnet-lite0", str(path))


@pytest.mark.shared_data
def test_vgg16_tells_photos_from_noise(shared_data: Path) -> None:
    """The shared half-precision file loads; real weights keep features of a photo and its mirror image closer than noise."""
    network = load_perceptual_network("vgg16", str(next((shared_data / "weights").glob("*.safetensors"))))
    assert isinstance(network, VGG16)
    import numpy as np
    from PIL import Image

    from tinystyle.data.photos import photo_tensor

    with Image.open(sorted((shared_data / "photos").glob("coco*.jpg"))[0]) as image:
        photo = photo_tensor(np.asarray(image.convert("RGB").resize((64, 64))))
    layer = network.style_layers[-1]
    mirrored, noise, own = (
        network(x, {layer})[layer].mean((2, 3)) for x in (photo.flip(3), torch.rand_like(photo) * 255, photo)
    )
    assert (own - mirrored).norm() < 0.5 * (own - noise).norm()
