"""A network of many styles on the command line: a style is chosen, blended, exported, proved and compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinystyle
from tests.support.command_line import Run
from tests.support.models import save_untrained_styles
from tinystyle.errors import UserError

NAMES = ("wave", "mosaic", "starry night")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "three").mkdir()
    return save_untrained_styles(tmp_path / "three" / "model.safetensors", *NAMES)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).resize((96, 64)).save(tmp_path / "photos" / "p.png")
    return tmp_path / "photos" / "p.png"


def stylized(run: Run, model: object, photo: Path, *options: str) -> np.ndarray:
    out = photo.parent.parent / "out.png"
    code, _, error = run("stylize", model, photo, "--out", out, *options)
    assert code == 0, error
    with Image.open(out) as image:
        return np.array(image).astype(int)


def test_a_style_is_chosen_by_an_option_or_in_the_address(run: Run, model: Path, photo: Path) -> None:
    wave, mosaic = (stylized(run, model, photo, "--style", name) for name in ("wave", "mosaic"))
    assert np.abs(wave - mosaic).mean() > 5
    assert (stylized(run, f"{model}#wave", photo) == wave).all()
    assert (stylized(run, f"{model.parent}#wave", photo) == wave).all(), "the folder of a run, too"


def test_styles_are_blended(run: Run, model: Path, photo: Path) -> None:
    wave, mosaic = (stylized(run, model, photo, "--style", name) for name in ("wave", "mosaic"))
    half = stylized(run, model, photo, "--style", "wave=0.5,mosaic=0.5")
    assert min(np.abs(half - wave).mean(), np.abs(half - mosaic).mean()) > 1
    nearly = stylized(run, model, photo, "--style", "wave=0.999,mosaic=0.001")
    assert np.abs(nearly - wave).max() <= 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "holds the styles wave, mosaic, starry night; choose one with --style"),
        (["--style", "waves"], "there is no style 'waves' in it (did you mean wave?)"),
        (["--style", "wave=2,mosaic=none"], "the share 'none' is no number above 0"),
    ],
)
def test_a_wrong_choice_is_told(run: Run, model: Path, photo: Path, options: list[str], sentence: str) -> None:
    code, _, error = run("stylize", model, photo, "--out", photo.parent.parent / "out.png", *options)
    assert code == 2
    assert sentence in error
    assert not (photo.parent.parent / "out.png").exists()


def test_a_style_is_not_chosen_twice(run: Run, model: Path, photo: Path) -> None:
    code, _, error = run("stylize", f"{model}#wave", photo, "--style", "mosaic")
    assert (code, "both choose a style" in error) == (2, True)


@pytest.mark.parametrize("style", ["mosaic", "wave=1,mosaic=1"])
def test_a_style_is_exported_and_proved(run: Run, model: Path, photo: Path, tmp_path: Path, style: str) -> None:
    out = tmp_path / "one.mlmodel"
    code, _, error = run("export", model, "--style", style, "--size", "96x64", "--out", out)
    assert code == 0, error
    proof = ("verify", out, "--against", model, "--photos", photo.parent)
    code, text, error = run(*proof, "--style", style)
    assert code == 0, text + error
    code, text, _ = run(*proof, "--style", "starry night")
    assert code == 1
    assert "NOT verified" in text


def test_columns_of_a_comparison(run: Run, model: Path, photo: Path, tmp_path: Path) -> None:
    code, _, error = run(
        "compare", f"{model}#wave", f"{model}#mosaic", "-p", photo.parent, "-o", tmp_path / "sheet.png"
    )
    assert code == 0, error
    assert (tmp_path / "sheet.png").exists()


def test_the_library_takes_a_style_by_name_or_shares(model: Path, photo: Path) -> None:
    one = tinystyle.load(model, "wave")
    assert one.lineage["style_name"] == "wave"
    both = tinystyle.load(model.parent, {"wave": 0.5, "mosaic": 0.5})
    assert both.lineage["style_name"] == "wave 50%, mosaic 50%"
    assert np.abs(np.array(both.stylize(photo)).astype(int) - np.array(one.stylize(photo)).astype(int)).mean() > 1
    with pytest.raises(UserError, match="choose one with `style`"):
        tinystyle.load(model)


@pytest.mark.slow
def test_every_style_is_evaluated(run: Run, dataset: Path, model: Path) -> None:
    options = ("--photos", dataset, "--style", "builtin:wave", "--max-photos", "1", "--size", "48", "--no-export")
    narrow = ("--perceptual", "narrow", "--style-size", "96", "--json")
    code, text, error = run("evaluate", model, *options, *narrow)
    assert code == 0, error
    found = json.loads(text)
    assert tuple(found) == NAMES
    one = json.loads(run("evaluate", f"{model}#mosaic", *options, *narrow)[1])
    assert one["rows"][-1] == found["mosaic"]["rows"][-1]
