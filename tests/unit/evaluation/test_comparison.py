"""The interval of a change over photos: right as often as it says, and no surer than its photos allow."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinystyle.evaluation.comparison import MIN_PHOTOS, paired_change


def photos(count: int, seed: int) -> np.ndarray:
    """A measure as photos have it: they differ by far more than two networks do on one of them."""
    return np.random.default_rng(seed).lognormal(0, 0.5, count)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        random = np.random.default_rng(1000 + seed)
        old = photos(32, seed)
        new = old * 1.1 * random.lognormal(-(0.05**2) / 2, 0.05, 32)
        change = paired_change(new.tolist(), old.tolist())
        held += change.low <= 0.1 <= change.high
        assert change.high - change.low < 0.08, "pairing takes out the difference between photos"
    assert 88 <= held <= 99


def test_pairs_matter() -> None:
    old = photos(32, 1)
    paired = paired_change((old * 1.02).tolist(), old.tolist())
    assert paired.low == pytest.approx(0.02)
    assert paired.high == pytest.approx(0.02)
    shuffled = paired_change((old[::-1] * 1.02).tolist(), old.tolist())
    assert shuffled.mean == pytest.approx(0.02)
    assert shuffled.low < 0 < shuffled.high


def test_the_same_values_give_the_same_interval() -> None:
    old, new = photos(20, 2).tolist(), photos(20, 3).tolist()
    assert paired_change(new, old) == paired_change(new, old)
    assert paired_change(old, old) == paired_change(new, new)


@pytest.mark.parametrize(
    ("new", "old", "over"),
    [
        ([1.06] * MIN_PHOTOS, [1.0] * MIN_PHOTOS, True),
        ([1.04] * MIN_PHOTOS, [1.0] * MIN_PHOTOS, False),
        ([1.2, 0.91] * (MIN_PHOTOS // 2), [1.0] * MIN_PHOTOS, False),  # 5.5% worse, and as good as the noise
        ([1.2, 0.91], [1.0, 1.0], True),  # too few to tell
        ([math.nan] * MIN_PHOTOS, [1.0] * MIN_PHOTOS, True),
        ([1.0] * MIN_PHOTOS, [0.0] * MIN_PHOTOS, True),
        ([0.0] * MIN_PHOTOS, [0.0] * MIN_PHOTOS, False),
    ],
)
def test_what_is_surely_over_a_margin(new: list[float], old: list[float], over: bool) -> None:
    assert paired_change(new, old).surely_over(0.05) is over


@pytest.mark.parametrize(("new", "old"), [([], []), ([1.0], [1.0, 2.0])])
def test_what_is_no_pair_is_a_bug(new: list[float], old: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_change(new, old)
