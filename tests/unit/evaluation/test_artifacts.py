"""Checkerboard energy and border error, on photographs and on damage of known size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from tests.support.degrade import black_holed, blurred, framed, with_grid
from tinystyle.data.images import open_rgb
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation import border_error, checkerboard_energy, color_match, identity
from tinystyle.nets import build_network


def resized(image: Image.Image, short: int) -> Tensor:
    image.thumbnail((10_000, short), Image.Resampling.LANCZOS)
    return photo_tensor(np.asarray(image))


@pytest.fixture(scope="module", params=["china", "flower"])
def photo(request: pytest.FixtureRequest) -> Tensor:
    """A photograph of 287 x 191: no multiple of 4."""
    return resized(Image.fromarray(load_sample_image(f"{request.param}.jpg")), 191)


def energy(output: Tensor, photo: Tensor) -> float:
    return checkerboard_energy(output, photo).item()


def border(function: object, photo: Tensor) -> float:
    assert callable(function)
    return border_error(function, photo, function(photo)).item()


def test_the_photo_itself_has_checkerboard_energy_one(photo: Tensor) -> None:
    assert energy(photo, photo) == 1.0


@pytest.mark.parametrize("period", [2, 4])
def test_a_grid_raises_checkerboard_energy_by_its_amplitude(photo: Tensor, period: int) -> None:
    faint, strong = (energy(with_grid(photo, period, amplitude), photo) for amplitude in (2.0, 4.0))
    assert faint > 1.5
    assert strong > 2 * faint


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("period", [2, 4])
def test_stripes_one_way_are_a_grid_too(photo: Tensor, axis: int, period: int) -> None:
    place = torch.arange(photo.shape[axis])
    stripes = 4.0 * torch.cos(2 * torch.pi * place / period)
    assert energy(photo + (stripes if axis == -1 else stripes[:, None]), photo) > 1.5


@pytest.mark.parametrize("period", [3, 5, 8])
def test_other_periods_are_texture(photo: Tensor, period: int) -> None:
    assert energy(with_grid(photo, period, 4.0), photo) < 1.05


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_noise_and_contrast_are_no_grid(photo: Tensor, sigma: float) -> None:
    noise = sigma * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    assert energy(photo + noise, photo) == pytest.approx(1.0, abs=0.3)
    assert energy(photo * 0.3 + 40, photo) == pytest.approx(1.0, abs=0.1)


def test_blur_holes_and_frames_are_no_grid(photo: Tensor) -> None:
    assert energy(blurred(photo), photo) < 1.0
    assert energy(black_holed(photo), photo) < 1.3
    assert energy(framed(photo), photo) == pytest.approx(1.0, abs=0.05)


def test_a_grid_on_a_flat_photo_is_found() -> None:
    flat = torch.full((1, 3, 100, 70), 90.0)
    assert energy(flat, flat) == 1.0
    assert energy(with_grid(flat), flat) > 10


@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 300), (64, 63), (129, 67)])
def test_any_size_has_an_energy(height: int, width: int) -> None:
    image = 255 * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    energies = checkerboard_energy(with_grid(image, 2, 100.0), image)
    assert energies.shape == (2,)
    assert (energies > 1.5).all()


def test_functions_of_pixels_and_global_statistics_have_no_border_error(photo: Tensor) -> None:
    recolor = color_match(photo.flip(1) * 0.8 + 60)
    assert ((recolor(photo) == 0) | (recolor(photo) == 255)).any()  # clamped somewhere, which is no error either
    for function in (identity, recolor, black_holed, with_grid, blurred):
        assert border(function, photo) == pytest.approx(0.0, abs=0.02)


def test_a_darkened_frame_is_a_border_error(photo: Tensor) -> None:
    error = border(framed, photo)
    # A third of the brightness of 4 of the 16 pixels, somewhat more at the corners.
    assert error == pytest.approx(photo.mean().item() / 12, rel=0.5)
    assert border(lambda x: framed(framed(x)), photo) > 1.3 * error


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 90), (48, 64)])
def test_small_photos_have_a_border_too(height: int, width: int) -> None:
    photo = 50 + 150 * torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    assert border_error(identity, photo, photo).tolist() == pytest.approx([0.0, 0.0], abs=1e-3)
    assert (border_error(framed, photo, framed(photo)) > 5).all()


@torch.no_grad()
def test_zero_padding_of_a_network_is_a_border_error(photo: Tensor) -> None:
    torch.manual_seed(0)
    network = build_network("small", 0.1)
    padded = border(network, photo)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.padding_mode = "reflect"
            module._reversed_padding_repeated_twice = [module.kernel_size[0] // 2] * 4
    assert padded > 1.0
    assert border(network, photo) < padded / 2


@pytest.mark.shared_data
def test_on_real_photographs_only_a_grid_and_a_frame_count(shared_data: Path) -> None:
    files = sorted((shared_data / "photos").glob("*.jpg"))[::100]
    photos = [resized(open_rgb(file.read_bytes(), file), 192) for file in files]
    assert len(photos) >= 6
    recolor = color_match(photos[0])
    for photo in photos[1:]:
        assert energy(recolor(photo), photo) == pytest.approx(1.0, abs=0.3)
        assert energy(with_grid(photo, 2, 2.0), photo) > 2
        assert energy(with_grid(photo, 4, 4.0), photo) > 1.5
        assert border(recolor, photo) == pytest.approx(0.0, abs=0.02)
        assert border(framed, photo) > 1.0
