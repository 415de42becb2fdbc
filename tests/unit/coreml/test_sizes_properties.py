"""Image sizes: what is written is read again, and the nearest is always one that is possible."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.properties import examples
from tinystyle.coreml import MAX_SIDE, MIN_SIDE
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError

STRIDE = 4
SIDES = st.integers(MIN_SIDE // STRIDE, MAX_SIDE // STRIDE).map(lambda steps: STRIDE * steps)
SIZES = st.tuples(SIDES, SIDES)
ANY_SIZE = st.tuples(st.integers(1, 9999), st.integers(1, 9999))
FIXED = SIZES.map(lambda size: f"{size[0]}x{size[1]}")
SEVERAL = st.lists(SIZES, min_size=2, max_size=9, unique=True).map(lambda sizes: ",".join(f"{w}x{h}" for w, h in sizes))


@st.composite
def ranges(draw: st.DrawFn) -> str:
    ends = draw(st.tuples(SIZES, SIZES).filter(lambda ends: ends[0] != ends[1]))
    low, high = zip(*(sorted(sides) for sides in zip(*ends, strict=True)), strict=True)
    return f"{low[0]}x{low[1]}..{high[0]}x{high[1]}"


POSSIBLE = st.one_of(FIXED, SEVERAL, ranges()).map(ImageSizes.parse)


@examples(100)
@given(POSSIBLE)
def test_sizes_are_read_as_they_were_written(sizes: ImageSizes) -> None:
    text = str(sizes).replace(" to ", "..").replace(", ", ",")
    assert ImageSizes.parse(text) == sizes
    assert ImageSizes.parse(f" {text.replace(',', ' , ')} ") == sizes


@examples(100)
@given(POSSIBLE)
def test_sizes_of_whole_strides_can_be_exported(sizes: ImageSizes) -> None:
    sizes.check("mlpackage", STRIDE)
    assert sizes.allows(*sizes.default)
    if sizes.kind == "fixed":
        sizes.check("mlmodel", STRIDE)
    else:
        with pytest.raises(UserError, match="one size"):
            sizes.check("mlmodel", STRIDE)


@examples(200)
@given(st.text("0123456789x., -", max_size=24))
def test_any_text_is_sizes_or_a_mistake(text: str) -> None:
    with contextlib.suppress(UserError):
        sizes = ImageSizes.parse(text)
        assert sizes.choices
        sizes.check("mlpackage", STRIDE)


@examples(200)
@given(ANY_SIZE)
def test_the_size_that_a_refusal_names_is_possible_and_nearest(size: tuple[int, int]) -> None:
    try:
        ImageSizes.fixed(*size).check("mlmodel", STRIDE)
    except UserError as error:
        named = re.search(r"nearest is (\d+)x(\d+)", str(error))
        assert named
        nearest = int(named[1]), int(named[2])
        ImageSizes.fixed(*nearest).check("mlmodel", STRIDE)
        for side, near in zip(size, nearest, strict=True):
            assert abs(near - side) <= STRIDE / 2 or near in (MIN_SIDE, MAX_SIDE)
    else:
        assert all(side % STRIDE == 0 and MIN_SIDE <= side <= MAX_SIDE for side in size)


@examples(200)
@given(POSSIBLE, ANY_SIZE)
def test_the_nearest_size_is_one_that_the_file_takes(sizes: ImageSizes, size: tuple[int, int]) -> None:
    nearest = sizes.nearest(*size)
    assert sizes.allows(*nearest)
    assert sizes.nearest(*nearest) == nearest
    if sizes.allows(*size):
        assert nearest == size
