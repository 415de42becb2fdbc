from __future__ import annotations

import pytest
import torch

from tinystyle.nets.perceptual.sliced import at_quantiles, directions, sorted_projections


def test_directions_are_units_and_the_same_every_time() -> None:
    some = directions(64, 32, seed=1)
    torch.testing.assert_close(some.norm(dim=0), torch.ones(32))
    assert torch.equal(some, directions(64, 32, seed=1))
    assert not torch.allclose(some, directions(64, 32, seed=2))


@pytest.mark.parametrize("channels_last", [False, True])
def test_projections_are_sorted_for_each_image_and_direction(channels_last: bool) -> None:
    features = torch.randn(2, 5, 3, 4)
    along = directions(5, 6, seed=0)
    expected = torch.stack([(image.flatten(1).mT @ along).sort(0).values for image in features])
    if channels_last:
        features = features.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(sorted_projections(features, along), expected)


@pytest.mark.parametrize("samples", [1, 7, 256, 5000])
@pytest.mark.parametrize("count", [1, 256])
def test_quantiles_of_any_number_of_samples(samples: int, count: int) -> None:
    values = torch.linspace(0, 1, samples) if samples > 1 else torch.full((1,), 0.5)
    quantiles = at_quantiles(values.view(1, -1, 1), count)
    assert quantiles.shape == (1, count, 1)
    assert bool((quantiles.diff(dim=1) >= 0).all())
    assert quantiles.mean().item() == pytest.approx(0.5, abs=1e-3)


def test_as_many_quantiles_as_samples_are_the_samples() -> None:
    samples = torch.rand(2, 31, 3).sort(1).values
    torch.testing.assert_close(at_quantiles(samples, 31), samples)
