"""The controller of the style weight: holds a content loss, is a plain number if asked, forgets nothing on resumption."""

from __future__ import annotations

import math

import pytest

from tinystyle.config import STYLE_WEIGHT_START, LossConfig
from tinystyle.nets.perceptual.losses import StyleTarget
from tinystyle.training.style_weight import FIXED_FROM, RANGE, StyleWeight

STEPS, WARMUP = 800, 100


def content_of(weight: float) -> float:
    """A plant: the content loss that a network settles at under a style weight."""
    return 0.4 * math.log(weight)


def run(control: StyleWeight, first: int = 1, last: int = STEPS, every: int = 1) -> list[float]:
    weights = []
    for step in range(first, last + 1):
        if step % every == 0:
            control.update(step, content_of(control.value), every)
        weights.append(control.value)
    return weights


def automatic(contrast: float = 1.0, **changes: float) -> StyleWeight:
    style = StyleTarget({}, {}, {}, {}, {}, contrast=contrast, content_target=1.2, photo_energy=1.0)
    return StyleWeight(LossConfig(**changes), style, WARMUP, STEPS)


@pytest.mark.parametrize("target", [0.8, 1.2, 1.6])
def test_auto_brings_the_content_loss_to_its_target(target: float) -> None:
    control = automatic(content_target=target)
    weights = run(control)
    assert content_of(control.value) == pytest.approx(target, abs=0.03)
    assert set(weights[: WARMUP // 2 - 1]) == {STYLE_WEIGHT_START}, "it waits for the learning rate"
    assert len(set(weights[math.ceil(FIXED_FROM * STEPS) :])) == 1, "and leaves the end alone"


def test_the_network_names_the_target_where_the_configuration_does_not() -> None:
    assert automatic().target == 1.2


@pytest.mark.parametrize(
    ("contrast", "times"), [(0.5, 4.0), (1.0, 1.0), (3.0, 1.0), (1e-9, RANGE[1] / STYLE_WEIGHT_START)]
)
def test_a_pale_painting_begins_with_more_weight(contrast: float, times: float) -> None:
    assert automatic(contrast).value == pytest.approx(times * STYLE_WEIGHT_START)
    assert automatic(contrast, style_weight=7.0).value == 7.0, "a number is a number"


def test_looks_at_every_tenth_step_come_to_the_same() -> None:
    often, seldom = automatic(), automatic()
    run(often)
    run(seldom, every=10)
    assert seldom.value == pytest.approx(often.value, rel=0.05)


def test_it_stays_within_its_range_whatever_it_is_told() -> None:
    low, high, nan = automatic(), automatic(), automatic()
    for step in range(1, STEPS):
        low.update(step, 50.0)
        high.update(step, 0.0)
        nan.update(step, math.nan)
    assert (low.value, high.value) == RANGE
    assert nan.value == STYLE_WEIGHT_START


def test_a_number_stays() -> None:
    assert set(run(automatic(style_weight=3.0))) == {3.0}


def test_resumed_is_uninterrupted() -> None:
    whole, first, second = automatic(), automatic(), automatic()
    run(whole)
    run(first, last=250)
    second.load_state_dict(first.state_dict())
    run(second, first=251)
    assert second.value == whole.value
