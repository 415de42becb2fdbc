"""Whether one network is worse than another, judged on the same photos, with an interval of confidence over photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CONFIDENCE", "MIN_PHOTOS", "Change", "paired_change"]

CONFIDENCE = 0.95
MIN_PHOTOS = 8
"""Number of photos below which a bootstrap interval is far too narrow, so that none is given."""
_RESAMPLES = 10_000
_SEED = 0


@dataclass(frozen=True)
class Change:
    """How much higher a mean over photos is than another one, as a fraction of the other: 0.05 is 5% higher."""

    mean: float
    """Change of the mean over all photos."""
    low: float
    high: float
    """Ends of the interval that contains the change over all possible photos with a probability of CONFIDENCE; both
    are `mean` if there are fewer than MIN_PHOTOS photos."""
    photos: int

    def surely_over(self, margin: float) -> bool:
        """Return whether the change exceeds `margin` with confidence; NaN does, because nothing speaks against it."""
        return not self.low <= margin


def paired_change(new: Sequence[float], old: Sequence[float]) -> Change:
    """Return the change from `old` to `new`, two measurements of the same photos in the same order.

    The interval is the percentile interval of a paired bootstrap (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapters 8.4 and 13.3): photos are drawn with replacement, each with both of its values, and the
    ratio of the two means is computed for each of 10,000 draws. Photos differ from each other far more than two
    networks do on one photo; the pairing removes the former. The draws are always the same, hence so is the result.

    Raises:
        ValueError: there are no values, or the two are not equally many.
    """
    if not new or len(new) != len(old):
        raise ValueError(f"{len(new)} and {len(old)} values cannot be paired")
    values, count = np.array([new, old], np.float64), len(new)
    mean = float(_change(values.mean(1)))
    if count < MIN_PHOTOS or not math.isfinite(mean):
        return Change(mean, mean, mean, count)
    draws = np.random.default_rng(_SEED).integers(0, count, (_RESAMPLES, count))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(_change(values[:, draws].mean(2)), [tail, 1 - tail])
    return Change(mean, float(low), float(high), count)


def _change(means: np.ndarray) -> np.ndarray:
    """Return new / old - 1 for an array whose first axis is (new, old); an increase from zero is infinite."""
    new, old = means
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((new == 0) & (old == 0), 0.0, new / old - 1)
