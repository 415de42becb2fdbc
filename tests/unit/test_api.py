"""`import tinystyle`: what the package gives to Python programs."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinystyle
from tests.support.photos import synthetic_photo
from tinystyle.commands import coreml
from tinystyle.stylize import stylize_image


@pytest.fixture(scope="module")
def model() -> tinystyle.Model:
    return tinystyle.load("pretrained:starry-night")


def test_what_is_public() -> None:
    assert tinystyle.__all__ == ["Model", "UserError", "__version__", "load", "train", "verify"]
    assert set(tinystyle.__all__) <= set(dir(tinystyle))
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        tinystyle.lode  # noqa: B018


@pytest.mark.parametrize(
    ("function", "command", "names"),
    [
        (tinystyle.Model.export, coreml.export, ("bits", "ios", "compute")),
        (tinystyle.verify, coreml.verify, ("max_photos", "min_psnr")),
    ],
)
def test_defaults_are_those_of_the_command(
    function: Callable[..., Any], command: Callable[..., Any], names: tuple[str, ...]
) -> None:
    library, line = signature(function).parameters, signature(command).parameters
    assert {name: library[name].default for name in names} == {name: line[name].default for name in names}


def test_c5_an_image_comes_back_as_what_it_was_given(model: tinystyle.Model, tmp_path: Path) -> None:
    photo = synthetic_photo(1, 64, 48)
    expected = np.array(stylize_image(model.loaded, photo))
    photo.save(tmp_path / "photo.png")
    for image in (photo, str(tmp_path / "photo.png"), tmp_path / "photo.png"):
        picture = model.stylize(image)
        assert isinstance(picture, Image.Image)
        assert np.array_equal(np.array(picture), expected)
    array = model.stylize(np.array(photo))
    assert (type(array), array.dtype) == (np.ndarray, np.uint8)
    assert np.array_equal(array, expected)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1", "F"])
def test_c5_a_pil_image_of_any_mode(model: tinystyle.Model, mode: str) -> None:
    photo = synthetic_photo(2, 40, 32)
    image = Image.fromarray(np.full((32, 40), 9000, np.uint16)) if mode == "I;16" else photo.convert(mode)
    picture = model.stylize(image)
    assert picture.size == (40, 32)
    assert picture.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")


def test_o5_o8_what_a_file_says_comes_with_the_picture(model: tinystyle.Model, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    photo = synthetic_photo(1, 40, 32).convert("RGBA")
    photo.putalpha(77)
    photo.save(tmp_path / "photo.png", exif=exif, dpi=(200, 100))
    picture = model.stylize(tmp_path / "photo.png")
    assert (picture.mode, picture.size) == ("RGBA", (32, 40))
    assert picture.getchannel("A").getextrema() == (77, 77)
    assert dict(picture.getexif()) == {0x0112: 1, 0x010F: "Camera"}
    assert tuple(map(round, picture.info["dpi"])) == (100, 200)
    opened = Image.open(tmp_path / "photo.png")
    stored = model.stylize(opened)  # as Pillow opens it: not turned, which it keeps saying
    assert stored.size == (40, 32)
    assert stored.getexif()[0x0112] == opened.getexif()[0x0112] == 6


def test_item_11_tiles_give_the_same_picture(model: tinystyle.Model) -> None:
    photo = synthetic_photo(1, 70, 50)
    whole, tiled = (np.array(model.stylize(photo, tile=tile)).astype(int) for tile in ("off", 32))
    assert np.abs(whole - tiled).max() <= 1
    with pytest.raises(tinystyle.UserError, match="`tile` 3"):
        model.stylize(photo, tile=3)


def test_c5_transparency_is_kept(model: tinystyle.Model) -> None:
    photo = np.dstack([np.array(synthetic_photo(3, 40, 32)), np.arange(32 * 40, dtype=np.uint8).reshape(32, 40)])
    picture = model.stylize(photo)
    assert picture.shape == (32, 40, 4)
    assert np.array_equal(picture[..., 3], photo[..., 3])


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (None, "`image` is a NoneType; give a PIL image"),
        (np.zeros((4, 4)), "`image` is an array of float64"),
        (np.zeros((4, 4, 2), np.uint8), "`image` is an array of uint8, (4, 4, 2)"),
        ("none.jpg", "none.jpg: cannot be read (No such file or directory)"),
        (Path(__file__), "is not an image that can be read"),
        (Image.new("RGB", (0, 3)), "`image` is 0x3"),
    ],
)
def test_c5_what_is_no_image_is_refused(model: tinystyle.Model, image: Any, sentence: str) -> None:
    with pytest.raises(tinystyle.UserError) as caught:
        model.stylize(image)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("strength", [-0.1, 1.1, "half", float("nan")])
def test_a_strength_out_of_range_is_refused(model: tinystyle.Model, strength: Any) -> None:
    with pytest.raises(tinystyle.UserError, match="`strength`"):
        model.stylize(synthetic_photo(1, 32, 32), strength=strength)


@pytest.mark.parametrize("source", [None, 3, "nowhere.safetensors", "pretrained:none"])
def test_c5_what_is_no_model_is_refused(source: Any) -> None:
    with pytest.raises(tinystyle.UserError):
        tinystyle.load(source)
