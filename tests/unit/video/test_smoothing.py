"""Smoothed norms: what enters the picture changes the rest slowly; a cut, and a photo alone, are as without smoothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.support.photos import synthetic_photo
from tinystyle.coreml.evaluator.model import CoreMLModel
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, load_model
from tinystyle.stylize import stylize_image
from tinystyle.video.frames import FrameStylizer
from tinystyle.video.smoothing import SceneCuts


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("pretrained:starry-night")


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.int64)


def entering(step: int) -> Image.Image:
    """A photo into which a bright wall enters from the left."""
    photo = synthetic_photo(0, 128, 96)
    photo.paste((250, 245, 240), (0, 0, 6 * step, 96))
    return photo


def change(stylizer: FrameStylizer) -> float:
    """Mean change between frames where the photo does not change."""
    pictures = [values(stylizer(entering(step))) for step in range(6)]
    return float(np.mean([np.abs(b - a)[:, 80:].mean() for a, b in itertools.pairwise(pictures)]))


def test_the_first_frame_is_a_photo_and_so_is_each_one_that_repeats_it(model: LoadedModel) -> None:
    stylizer = FrameStylizer(model, smoothing=0.9)
    expected = values(stylize_image(model, entering(0)))
    for _ in range(3):
        assert np.abs(values(stylizer(entering(0))) - expected).max() <= 1


def test_an_entering_object_changes_the_rest_slowly(model: LoadedModel) -> None:
    without, little, much = (change(FrameStylizer(model, smoothing=smoothing)) for smoothing in (0, 0.5, 0.9))
    assert much < little < without
    assert much < 0.9 * without


def test_exposure_is_taken_out_as_without_smoothing(model: LoadedModel) -> None:
    """Averages of the first norm too would make a step of exposure visible for many frames."""
    photo = ImageEnhance.Brightness(entering(0)).enhance(0.8)
    brighter = ImageEnhance.Brightness(entering(0)).enhance(0.84)
    changes = []
    for smoothing in (0.0, 0.9):
        stylizer = FrameStylizer(model, smoothing=smoothing)
        changes.append(np.abs(values(stylizer(photo)) - values(stylizer(brighter))).mean())
    assert changes[1] < changes[0] + 0.2


def test_a_cut_starts_anew(model: LoadedModel) -> None:
    stylizer = FrameStylizer(model, smoothing=0.95)
    for step in range(3):
        stylizer(entering(step))
    other = synthetic_photo(5, 128, 96)
    assert np.abs(values(stylizer(other)) - values(stylize_image(model, other))).max() <= 1


def test_the_state_continues_where_it_was(model: LoadedModel) -> None:
    one = FrameStylizer(model, smoothing=0.9)
    for step in range(3):
        one(entering(step))
    two = FrameStylizer(model, smoothing=0.9)
    two.restore({name: value.clone() for name, value in one.state().items()})
    for step in range(3, 6):
        assert (values(one(entering(step))) == values(two(entering(step)))).all()


def test_without_smoothing_there_is_no_state(model: LoadedModel) -> None:
    stylizer = FrameStylizer(model, smoothing=0)
    assert (values(stylizer(entering(1))) == values(stylize_image(model, entering(1)))).all()
    assert stylizer.state() == {}


def test_the_model_itself_is_not_changed(model: LoadedModel) -> None:
    before = values(stylize_image(model, entering(2)))
    FrameStylizer(model, smoothing=0.9)(entering(0))
    assert (values(stylize_image(model, entering(2))) == before).all()


def test_cuts_are_other_pictures_not_exposure_or_movement() -> None:
    cuts = SceneCuts()
    photo = synthetic_photo(0, 320, 240)
    moved = photo.transform(photo.size, Image.Transform.AFFINE, (1, 0, 6, 0, 1, 3))
    black = Image.new("RGB", photo.size)
    frames = [
        photo,
        moved,
        ImageEnhance.Brightness(moved).enhance(0.5),
        synthetic_photo(5, 320, 240),
        black,
        black,
        photo,
    ]
    assert [cuts.begins(frame) for frame in frames] == [True, False, False, True, True, False, True]


def test_a_core_ml_file_computes_each_frame_by_itself() -> None:
    file = object.__new__(CoreMLModel)
    assert FrameStylizer(file).smoothing == 0
    with pytest.raises(UserError, match="`smoothing`: a Core ML file computes each frame by itself"):
        FrameStylizer(file, smoothing=0.5)
