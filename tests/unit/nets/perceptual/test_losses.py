from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.photos import synthetic_photo
from tinystyle.data.photos import photo_tensor
from tinystyle.errors import UserError
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.gram import gram_matrix
from tinystyle.nets.perceptual.losses import PLAIN, Losses, StyleTarget, content_loss, content_target
from tinystyle.nets.perceptual.penalties import grid_loss, saturation_loss, total_variation_loss
from tinystyle.nets.perceptual.references import ReferenceStatistics


@pytest.fixture(scope="module")
def network() -> PerceptualNetwork:
    return load_perceptual_network("efficientnet-lite0").prepare(torch.device("cpu"), torch.float32)


def photo(seed: int) -> Tensor:
    import numpy as np

    return photo_tensor(np.asarray(synthetic_photo(seed, 64, 64)))


def measured(
    network: PerceptualNetwork, style: Tensor, photos: list[Tensor], *arguments: Any, **named: Any
) -> StyleTarget:
    return StyleTarget.measure(network, style, ReferenceStatistics.measure(network, photos), *arguments, **named)


def test_gram_matrix_of_hand_computed_features() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two channels of 1x2 pixels
    assert gram_matrix(features).tolist() == [[[5 / 4, 11 / 4], [11 / 4, 25 / 4]]]


@pytest.mark.parametrize("channels_last", [False, True])
def test_gram_gradient_is_that_of_autograd(channels_last: bool) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 5)
    if channels_last:
        features = features.contiguous(memory_format=torch.channels_last)
    weights = torch.randn(2, 3, 3)
    by_hand, by_autograd = features.clone().requires_grad_(), features.clone().requires_grad_()
    (gram_matrix(by_hand) * weights).sum().backward()
    flat = by_autograd.flatten(2)
    (flat @ flat.mT / 60 * weights).sum().backward()
    torch.testing.assert_close(by_hand.grad, by_autograd.grad)


def test_gram_of_bfloat16_features_is_summed_in_float32() -> None:
    features = torch.ones(1, 1, 1, 1000, dtype=torch.bfloat16)
    assert gram_matrix(features).dtype == torch.float32
    assert gram_matrix(features).item() == 1.0  # a bfloat16 sum of ones stops at 256


SHARES = pytest.mark.parametrize("share", [0.0, 0.3, 1.0])


@SHARES
@pytest.mark.parametrize("layer_weights", [None, (3, 3, 1, 0.5), (0, 0, 2, 0)])
def test_an_untouched_photo_has_style_loss_one_and_content_loss_zero(
    network: PerceptualNetwork, share: float, layer_weights: tuple[float, ...] | None
) -> None:
    photos = [photo(seed) for seed in range(8)]
    losses = Losses(network, measured(network, photo(99), photos, layer_weights, share))
    with torch.no_grad():
        content, style = zip(*(losses(p, p) for p in photos), strict=True)
    assert torch.stack(content).abs().max() == 0
    assert torch.stack(style).mean().item() == pytest.approx(1.0, rel=1e-4)


@SHARES
def test_the_style_itself_has_style_loss_zero(network: PerceptualNetwork, share: float) -> None:
    losses = Losses(network, measured(network, photo(99), [photo(1)], sliced_share=share))
    with torch.no_grad():
        content, style = losses(photo(99), photo(1))
    assert style.item() == pytest.approx(0.0, abs=1e-6)
    assert content.item() > 0.1


@SHARES
def test_losses_are_per_photo(network: PerceptualNetwork, share: float) -> None:
    losses = Losses(network, measured(network, photo(99), [photo(1)], sliced_share=share))
    outputs, photos = torch.cat([photo(2), photo(3)]), torch.cat([photo(4), photo(5)])
    together = losses(outputs, photos)
    apart = [losses(outputs[i : i + 1], photos[i : i + 1]) for i in range(2)]
    for which in range(2):
        torch.testing.assert_close(together[which], torch.cat([pair[which] for pair in apart]), rtol=1e-4, atol=1e-6)


def test_contrast_of_a_style_is_over_that_of_the_photos(network: PerceptualNetwork) -> None:
    photos = [photo(seed) for seed in range(4)]
    gray = torch.full_like(photo(99), 128)
    strong, pale = (measured(network, gray + contrast * (photo(99) - gray), photos) for contrast in (1.0, 0.05))
    assert pale.contrast < strong.contrast
    assert measured(network, photos[0], [photos[0], photos[1]]).contrast == pytest.approx(1, abs=0.3)
    assert strong.content_target == content_target(network.content_similarity, network.content_limit, strong.contrast)


def test_more_contrast_gives_up_more_until_plain_parts_cost_too_much() -> None:
    blank, pale, alike, strong = (content_target(0.6, 1.0, contrast) for contrast in (0.0, 0.36, 1.0, 4.0))
    assert blank == pytest.approx(1.0), "nothing is left of the photo"
    assert pale == pytest.approx(1 - 0.6**2), "the least, where the painting has the contrast of what is kept"
    assert pale < alike
    assert strong == pytest.approx(1 / (1 + 4 * PLAIN))


def test_a_layer_that_weighs_nothing_is_not_computed(network: PerceptualNetwork) -> None:
    losses = Losses(network, measured(network, photo(99), [photo(1)], (1, 1, 1, 0)))
    assert losses.layers == set(network.style_layers[:3]) | {network.content_layer}
    assert losses.layers < Losses(network, measured(network, photo(99), [photo(1)])).layers


def test_the_grid_loss_is_zero_of_a_photo_and_falls_with_the_grid() -> None:
    plain = photo(1)
    assert grid_loss(plain, plain).item() == 0
    grid = torch.zeros_like(plain)
    grid[..., ::2, ::2] = 1
    faint, strong = (grid_loss(plain + amplitude * grid, plain).item() for amplitude in (10, 40))
    assert 0 < faint < strong
    output = (plain + 40 * grid).requires_grad_()
    grid_loss(output, plain).sum().backward()
    assert output.grad is not None
    with torch.no_grad():
        assert grid_loss(output - 1e3 * output.grad, plain).item() < strong


def test_content_loss_is_relative_to_the_photo() -> None:
    features = torch.full((1, 2, 3, 3), 2.0)
    assert content_loss(torch.zeros_like(features), features).tolist() == [1.0]
    assert content_loss(features * 10, features * 10).tolist() == [0.0]
    assert content_loss(features, torch.zeros_like(features)).isfinite().all()
    assert content_loss(torch.zeros_like(features), features, least=8.0).tolist() == [0.5]
    assert content_loss(torch.zeros_like(features), features, least=1.0).tolist() == [1.0]


def test_total_variation_of_hand_computed_images() -> None:
    flat = torch.full((1, 3, 4, 4), 77.0)
    assert total_variation_loss(flat).tolist() == [0.0]
    stripes = torch.zeros(1, 3, 4, 4)
    stripes[..., ::2] = 255.0
    assert total_variation_loss(stripes).tolist() == [1.0]  # every horizontal neighbor differs by all of the range


def test_saturation_begins_at_two() -> None:
    assert saturation_loss(torch.tensor([[[[-2.0, 0.0, 2.0]]]])).tolist() == [0.0]
    assert saturation_loss(torch.tensor([[[[-5.0, 0.0, 2.0]]]])).tolist() == [3.0]


def test_a_style_equal_to_the_photos_is_refused(network: PerceptualNetwork) -> None:
    with pytest.raises(UserError, match="choose another style"):
        measured(network, photo(1), [photo(1)])
