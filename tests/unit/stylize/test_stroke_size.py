"""`--stroke-size`: larger strokes, the photo's edges, and the hint that it would be wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import Run
from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.model_file import LoadedModel, save_model
from tinystyle.nets import build_network
from tinystyle.stylize import open_model, stylize_image, stylize_photos
from tinystyle.stylize.render import training_crop
from tinystyle.stylize.stroke_size import with_edges

CONFIG = NetworkConfig(alpha=0.1)
MODEL = LoadedModel(build_network(CONFIG.architecture, CONFIG.alpha), CONFIG, {"crop": "32"})


def edge(width: int, height: int) -> Image.Image:
    """Dark at the left, light at the right, with grain."""
    pixels = np.full((height, width, 3), 60, np.float32)
    pixels[:, width // 2 + 1 :] = 190
    pixels += np.random.default_rng(0).normal(0, 2, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def test_the_network_sees_a_smaller_copy() -> None:
    photo = synthetic_photo(3, 120, 80)
    copy = photo.resize((60, 40), Image.Resampling.LANCZOS)
    expected = with_edges(stylize_image(MODEL, copy), copy, photo)
    assert stylize_image(MODEL, photo, stroke_size=2) == expected
    assert stylize_image(MODEL, photo, stroke_size=2).size == photo.size
    assert stylize_image(MODEL, photo, stroke_size=1) == stylize_image(MODEL, photo)


def test_edges_come_back_sharp_and_grain_does_not() -> None:
    photo = edge(128, 64)
    copy = photo.resize((16, 8), Image.Resampling.LANCZOS)
    plain = np.asarray(copy.resize(photo.size, Image.Resampling.BICUBIC), np.float32)
    sharp = np.asarray(with_edges(copy, copy, photo), np.float32)
    assert np.abs(np.diff(sharp.mean((0, 2)))).max() > 3 * np.abs(np.diff(plain.mean((0, 2)))).max()
    away = np.s_[:, :40]
    assert sharp[away].std() < 0.6 * np.asarray(photo, np.float32)[away].std()


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 16)])
@pytest.mark.parametrize("stroke_size", [0.25, 2, 16])
def test_any_size_of_photo(size: tuple[int, int], stroke_size: float) -> None:
    assert stylize_image(MODEL, synthetic_photo(1, *size), stroke_size=stroke_size).size == size


def test_with_colors_kept_and_half_strength(tmp_path: Path) -> None:
    synthetic_photo(1, 90, 60).save(tmp_path / "a.png")
    (path,) = stylize_photos(
        MODEL, [tmp_path / "a.png"], tmp_path / "out", stroke_size=1.5, keep_colors=True, strength=0.5
    )
    with Image.open(path) as image:
        assert image.size == (90, 60)


@pytest.mark.parametrize("factor", ["0", "-1", "17", "nan", "0.2"])
def test_a_factor_out_of_range(run: Run, tmp_path: Path, factor: str) -> None:
    save_model(MODEL.network, tmp_path / "m.safetensors", CONFIG, {})
    synthetic_photo(1).save(tmp_path / "a.png")
    arguments = ("stylize", tmp_path / "m.safetensors", tmp_path / "a.png", "--out", tmp_path / "out")
    code, output, error = run(*arguments, "--stroke-size", factor)
    assert (code, output) == (2, "")
    assert error == f"Error: --stroke-size {float(factor):g}: give a factor from 0.25 to 16; 1 is as trained\n"


def test_the_hint_comes_once_and_names_a_factor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        synthetic_photo(1, 400, 300).save(tmp_path / f"{name}.png")
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    stylize_photos(MODEL, photos, tmp_path / "out")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        f"{tmp_path / 'a.png'}: 400x300 pixels is large for a network trained on crops of 32; "
    )
    assert "`stroke_size` 3" in caplog.messages[0]
    stylize_photos(MODEL, photos, tmp_path / "out", stroke_size=3)
    stylize_photos(LoadedModel(MODEL.network, CONFIG, {}), photos, tmp_path / "out")
    assert len(caplog.messages) == 1


@pytest.mark.slow
def test_a_core_ml_file_says_its_crop_too(tmp_path: Path) -> None:
    file = tmp_path / "a.mlmodel"
    export_model(MODEL, format="mlmodel", bits=32, size=(96, 64), out=file)
    assert training_crop(open_model(file)) == 32
    assert training_crop(LoadedModel(MODEL.network, CONFIG, {"crop": "many"})) is None
