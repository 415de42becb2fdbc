"""Rounding with its errors passed on: the pictures of a network come closer, by the same number of levels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.photos import synthetic_photo
from tinystyle.model_file import load_model
from tinystyle.web.pack import rounded_weights
from tinystyle.web.rounding import correlations, rounded


def test_each_weight_by_itself_is_the_nearest() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 3, 3)
    steps, codes = rounded(weight, 20)
    assert codes.abs().amax() == 20
    assert (
        (codes * steps.float()[:, None, None, None] - weight).abs() <= 0.51 * steps.float()[:, None, None, None]
    ).all()


def test_with_inputs_that_are_alike_errors_cancel() -> None:
    torch.manual_seed(0)
    weight, alike = torch.randn(5, 2, 3, 3), torch.ones(18, 18, dtype=torch.float64) + 0.01 * torch.eye(18)
    alone, together = (
        (codes * steps.float()[:, None, None, None] - weight).flatten(1).sum(1).abs().max()
        for steps, codes in (rounded(weight, 10), rounded(weight, 10, alike))
    )
    assert together < 0.5 * alone


@pytest.mark.slow
def test_a_trained_network_gains_over_two_decibels() -> None:
    network = load_model("pretrained:starry-night").network
    photo = synthetic_photo(0).resize((120, 96), Image.Resampling.BICUBIC)
    photo_13hw = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    errors = []
    for correlated in (None, correlations(network)):
        as_on_page = copy.deepcopy(network)
        as_on_page.load_state_dict(rounded_weights(network, 60, correlated))
        with torch.inference_mode():
            errors.append(float((network(photo_13hw) - as_on_page(photo_13hw)).square().mean()))
    assert errors[1] < errors[0] / 10**0.2
