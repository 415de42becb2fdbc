"""Flicker: 0 for what does not change, more for what follows the noise, and a network's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.photos import synthetic_photo
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation import identity
from tinystyle.evaluation.flicker import BRIGHTNESS, flicker
from tinystyle.model_file import load_model


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return photo_tensor(np.asarray(synthetic_photo(0, 120, 90))) * 0.8


def test_a_constant_picture_does_not_flicker(photo: Tensor) -> None:
    def gray(x: Tensor) -> Tensor:
        return torch.full_like(x, 128)

    assert flicker(gray, photo, gray(photo)).item() == 0


def test_the_photo_has_its_noise_and_its_exposure(photo: Tensor) -> None:
    noise = 2.0 * (2 / torch.pi) ** 0.5  # the mean absolute value of a normal variable
    expected = (noise + (BRIGHTNESS - 1) * photo.mean()) / 3
    assert flicker(identity, photo, photo).item() == pytest.approx(float(expected), rel=0.02)


def test_a_grid_that_stays_while_the_view_moves_is_flicker(photo: Tensor) -> None:
    def gridded(x: Tensor) -> Tensor:
        grid = torch.zeros_like(x)
        grid[..., ::2] = 30
        grid[..., ::4, :] += 30
        return (x + grid).clamp(0, 255)

    assert flicker(gridded, photo, gridded(photo)) > flicker(identity, photo, photo) + 3


def test_a_blur_is_calmer_than_sharpening(photo: Tensor) -> None:
    def blurred(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (2,) * 4, mode="reflect"), 5, 1)

    def sharpened(x: Tensor) -> Tensor:
        return 3 * x - 2 * blurred(x)

    still, calm, restless = (flicker(f, photo, f(photo)).item() for f in (identity, blurred, sharpened))
    assert calm < still < restless


def test_every_photo_of_a_batch_is_measured_and_the_same_each_time(photo: Tensor) -> None:
    network = load_model("pretrained:starry-night").network
    with torch.inference_mode():
        batch = torch.cat([photo, photo.flip(-1)])
        values = flicker(network, batch, network(batch))
        assert values.shape == (2,)
        assert torch.equal(values, flicker(network, batch, network(batch)))
    assert (values > 1).all()
    assert (values < 60).all()


@pytest.mark.parametrize("side", [16, 17, 33])
def test_small_photos_will_do(side: int) -> None:
    small = photo_tensor(np.asarray(synthetic_photo(1, side, side)))
    assert torch.isfinite(flicker(identity, small, small)).all()
