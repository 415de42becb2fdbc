"""One image through a model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, save_model
from tinystyle.nets import build_network
from tinystyle.stylize import open_model, stylize_image

torch.manual_seed(0)
CONFIG = NetworkConfig(alpha=0.1)
MODEL = LoadedModel(build_network(CONFIG.architecture, CONFIG.alpha).eval(), CONFIG, {})
PHOTO = synthetic_photo(4, 90, 60)


def array(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image).astype(np.float64)


def test_strength_is_a_linear_blend() -> None:
    full = array(stylize_image(MODEL, PHOTO))
    assert np.array_equal(array(stylize_image(MODEL, PHOTO, strength=0)), array(PHOTO))
    assert np.array_equal(array(stylize_image(MODEL, PHOTO, strength=0, keep_colors=True)), array(PHOTO))
    blend = array(stylize_image(MODEL, PHOTO, strength=0.25))
    assert np.abs(blend - (0.75 * array(PHOTO) + 0.25 * full)).max() <= 0.501


def test_keep_colors_takes_the_luminance_alone() -> None:
    dull = Image.fromarray((array(PHOTO) / 4 + 96).astype(np.uint8))  # leaves room: nothing is clipped
    stylized = stylize_image(MODEL, dull, strength=0.5)
    model_ycc, photo_ycc = (array(image.convert("YCbCr")) for image in (stylized, dull))
    kept = array(stylize_image(MODEL, dull, strength=0.5, keep_colors=True))
    inside = (kept > 0).all(-1) & (kept < 255).all(-1)
    assert inside.mean() > 0.9
    kept_ycc = array(Image.fromarray(kept.astype(np.uint8)).convert("YCbCr"))
    assert np.abs(kept_ycc[..., 1:] - photo_ycc[..., 1:])[inside].max() <= 2
    assert np.abs(kept_ycc[..., 0] - model_ycc[..., 0])[inside].max() <= 2
    assert np.abs(model_ycc[..., 1:] - photo_ycc[..., 1:]).max() > 10


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 16)])
@pytest.mark.parametrize("keep_colors", [False, True])
def test_small_images(size: tuple[int, int], keep_colors: bool) -> None:
    assert stylize_image(MODEL, synthetic_photo(1, *size), keep_colors=keep_colors).size == size


@pytest.mark.slow
@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
def test_core_ml_file(tmp_path: Path, format: str) -> None:
    from tinystyle.coreml.exporter.convert import export_model

    file = tmp_path / f"a.{format}"
    export_model(MODEL, format=format, bits=32, size=(96, 64), out=file)
    model = open_model(file)
    fits = synthetic_photo(5, 96, 64)
    assert np.abs(array(stylize_image(model, fits)) - array(stylize_image(MODEL, fits))).max() <= 1
    # The whole photo, scaled to fill: its corners are the result's corners.
    tall = synthetic_photo(6, 50, 120)
    seen = tall.resize((96, 64), Image.Resampling.LANCZOS)
    expected = stylize_image(MODEL, seen).resize((50, 120), Image.Resampling.LANCZOS)
    assert np.abs(array(stylize_image(model, tall)) - array(expected)).max() <= 2
    assert np.array_equal(array(stylize_image(model, tall, strength=0)), array(tall))


@pytest.mark.slow
def test_core_ml_file_of_ranged_sizes(tmp_path: Path) -> None:
    from tinystyle.coreml.exporter.convert import export_model
    from tinystyle.coreml.sizes import ImageSizes

    sizes = ImageSizes.parse("64x64..128x128")
    export_model(MODEL, format="mlpackage", bits=32, size=sizes, compute="float32", out=tmp_path / "a.mlpackage")
    model = open_model(tmp_path / "a.mlpackage")
    fits, odd = synthetic_photo(5, 96, 64), synthetic_photo(5, 125, 97)
    assert np.abs(array(stylize_image(model, fits)) - array(stylize_image(MODEL, fits))).max() <= 1
    # No multiple of the stride: the file knows no reflection at the border, but every pixel is in its place.
    from_file, from_network = (array(stylize_image(one, odd))[:80, :110] for one in (model, MODEL))
    assert from_file.shape == (80, 110, 3)
    assert np.abs(from_file - from_network).mean() < 0.3 * np.abs(from_file[:, 1:] - from_network[:, :-1]).mean()


def test_open_model(tmp_path: Path) -> None:
    save_model(MODEL.network, tmp_path / "a.safetensors", CONFIG, {})
    assert isinstance(open_model(tmp_path / "a.safetensors"), LoadedModel)
    for name in ("none.mlmodel", "none.mlpackage", "none.safetensors"):
        with pytest.raises(UserError, match=f"{name}: no such file; give a"):
            open_model(tmp_path / name)
    with pytest.raises(UserError, match="download it first"):
        open_model("memory://models/a.mlpackage")
    (tmp_path / "bad.mlmodel").write_text("no model")
    with pytest.raises(UserError, match=r"bad\.mlmodel: not a Core ML file"):
        open_model(tmp_path / "bad.mlmodel")
