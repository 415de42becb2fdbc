"""The Pareto front of hand-made points."""

from __future__ import annotations

import math
import random

import pytest

from tinystyle.training.frontier.pareto import Point, pareto_front

CASES: dict[str, tuple[list[Point], list[int]]] = {
    "nothing": ([], []),
    "a single point": ([(3, 2)], [0]),
    "a staircase, in order of cost": ([(4, 1), (1, 4), (2, 3)], [1, 2, 0]),
    "one is worse in both": ([(1, 1), (2, 2)], [0]),
    "of equal cost the better score": ([(1, 2), (1, 1)], [1]),
    "of equal score the lower cost": ([(2, 1), (1, 1)], [1]),
    "equal points are on it together": ([(1, 1), (1, 1), (2, 2)], [0, 1]),
    "what is not known is not on it": ([(1, None), (None, 0), (2, 2)], [2]),
    "nor is NaN or infinity, and neither hides others": ([(0, math.nan), (math.nan, 0), (0, -math.inf), (2, 2)], [3]),
    "only NaN": ([(math.nan, math.nan)], []),
}


@pytest.mark.parametrize("case", CASES)
def test_front(case: str) -> None:
    points, expected = CASES[case]
    assert pareto_front(points) == expected


def test_every_point_off_the_front_has_a_better_one_on_it() -> None:
    draw = random.Random(0)
    points = [(draw.randint(1, 9), draw.randint(1, 9)) for _ in range(40)]
    front = [points[index] for index in pareto_front(points)]
    assert front == sorted(front)
    for cost, score in points:
        assert (cost, score) in front or any(c <= cost and s <= score for c, s in front)
    for cost, score in front:
        assert not any(c <= cost and s <= score and (c, s) != (cost, score) for c, s in points)
