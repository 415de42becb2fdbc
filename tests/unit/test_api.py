"""`import tinystyle`: what the package gives to Python programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinystyle
from tests.conftest import micro_config, synthetic_photo
from tinystyle.config import flat
from tinystyle.model_file import load_model
from tinystyle.stylize import stylize_image


@pytest.fixture(scope="module")
def model() -> tinystyle.Model:
    return tinystyle.load("pretrained:starry-night")


def test_what_is_public() -> None:
    assert tinystyle.__all__ == ["Model", "UserError", "__version__", "load", "train", "verify"]
    assert set(tinystyle.__all__) <= set(dir(tinystyle))
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        tinystyle.lode  # noqa: B018


def test_importing_it_imports_neither_torch_nor_coremltools() -> None:
    code = (
        "import sys, tinystyle; print(tinystyle.__version__, {'torch', 'coremltools', 'lightning'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == f"{tinystyle.__version__} set()\n"


def test_an_image_comes_back_as_what_it_was_given(model: tinystyle.Model, tmp_path: Path) -> None:
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
def test_a_pil_image_of_any_mode(model: tinystyle.Model, mode: str) -> None:
    photo = synthetic_photo(2, 40, 32)
    image = Image.fromarray(np.full((32, 40), 9000, np.uint16)) if mode == "I;16" else photo.convert(mode)
    picture = model.stylize(image)
    assert picture.size == (40, 32)
    assert picture.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")


def test_transparency_is_kept(model: tinystyle.Model) -> None:
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
def test_what_is_no_image_is_refused(model: tinystyle.Model, image: Any, sentence: str) -> None:
    with pytest.raises(tinystyle.UserError) as caught:
        model.stylize(image)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("strength", [-0.1, 1.1, "half", float("nan")])
def test_a_strength_out_of_range_is_refused(model: tinystyle.Model, strength: Any) -> None:
    with pytest.raises(tinystyle.UserError, match="`strength`"):
        model.stylize(synthetic_photo(1, 32, 32), strength=strength)


@pytest.mark.parametrize("source", [None, 3, "nowhere.safetensors", "pretrained:none"])
def test_what_is_no_model_is_refused(source: Any) -> None:
    with pytest.raises(tinystyle.UserError):
        tinystyle.load(source)


@pytest.mark.slow
def test_from_photos_to_a_verified_file(dataset: Path, photo_folder: Path, tmp_path: Path) -> None:
    parameters = {name: value for name, value in flat(micro_config(dataset, steps=6)).items() if value is not None}
    model = tinystyle.train(out=tmp_path / "run", **parameters)
    assert model.config.alpha == 0.1
    assert model.lineage["style_name"] == "mosaic"
    assert repr(model).startswith("<tinystyle.Model small alpha 0.1 from ")
    assert tinystyle.train(out=tmp_path / "run", **parameters).lineage == model.lineage  # loaded, not trained again

    model.save(tmp_path / "copy.safetensors")
    assert load_model(tmp_path / "copy.safetensors").lineage == model.lineage
    file = model.export(tmp_path / "mosaic.mlmodel", bits=16, size="64x48")
    result = tinystyle.verify(file, against=model, photos=photo_folder, max_photos=2)
    assert result.passed, result.sentence()
    report = model.evaluate(style="builtin:mosaic", photos=str(dataset), perceptual="efficientnet-lite0", size=48)
    assert [row.name for row in report.rows][:2] == ["identity", "color match"]
    with pytest.raises(tinystyle.UserError, match="`alpha` wide"):
        tinystyle.train(out=tmp_path / "other", **{**parameters, "alpha": "wide"})


@pytest.mark.parametrize("module", ["evaluation.model_report", "coreml.verification.verify", "stylize.sample_photos", "api"])
def test_evaluating_and_verifying_need_no_lightning(module: str) -> None:
    code = f"import sys, tinystyle.{module}; print('lightning' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True) == "False\n"
