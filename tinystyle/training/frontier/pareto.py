"""Computes the Pareto front of points with a cost and a score. Independent of networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["pareto_front"]

Point = tuple[float | None, float | None]


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Find the points that no other dominates, which means: no higher in cost or score, and lower in one of them.

    Args:
        points: (cost, score) of each point; lower is better for both. A point with None, NaN or infinity is never on
            the front.

    Returns:
        Indices into `points`, ordered by cost, then by index. Equal points are on the front together.
    """
    known = [
        (index, cost, score)
        for index, (cost, score) in enumerate(points)
        if cost is not None and score is not None and math.isfinite(cost) and math.isfinite(score)
    ]
    front = [
        (cost, index)
        for index, cost, score in known
        if not any(
            other_cost <= cost and other_score <= score and (other_cost < cost or other_score < score)
            for _, other_cost, other_score in known
        )
    ]
    return [index for _, index in sorted(front)]
