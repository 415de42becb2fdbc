"""Times several functions in turn, so that other load on the machine affects all of them equally."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter

__all__ = ["interleaved", "ratio"]


def interleaved(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every call, with one call of each contestant per round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            began = perf_counter()
            call()
            seconds[name].append(perf_counter() - began)
    return seconds


def ratio(base: Sequence[float], own: Sequence[float]) -> str:
    """Describe how many times as fast as `base` it is: the median over the rounds, and the range."""
    ratios = sorted(slow / fast for slow, fast in zip(base, own, strict=True))
    return f"ratio {median(ratios):.2f} (per round {ratios[0]:.2f} to {ratios[-1]:.2f})"
