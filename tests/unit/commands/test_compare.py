"""`tinystyle compare`: a picture of photos beside what several models make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import Run
from tests.support.models import save_untrained
from tests.support.photos import synthetic_photo
from tinystyle.commands.compare import _names


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        synthetic_photo(index).save(folder / f"{index}.png")
    (folder / "broken.jpg").write_bytes((folder / "0.png").read_bytes()[:99])
    return folder


@pytest.mark.slow
def test_c11_models_are_compared_side_by_side(photos: Path, run: Run, tmp_path: Path) -> None:
    model = save_untrained(tmp_path / "model.safetensors")
    sheets = []
    for names in ((model,), (model, "pretrained:starry-night"), (model, "pretrained:great-wave")):
        out = tmp_path / f"{len(sheets)}.png"
        code, output, _ = run("compare", *names, "-p", photos, "-o", out)
        assert (code, output) == (0, f"{out}\n")
        sheets.append(np.asarray(Image.open(out)))
    one, sea, wave = sheets
    left = [8 + column * (600 + 8) for column in range(4)]
    assert (one.shape[1], sea.shape[1], wave.shape[1]) == (left[2], left[3], left[3])
    assert (sea[:, : left[2]] == wave[:, : left[2]]).all(), "the photos, and the first model"
    assert np.abs(sea[60:, left[2] :].astype(int) - wave[60:, left[2] :]).mean() > 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{model}", "-p", "{folder}", "-o", "s3://bucket/sheet.png"), "--out s3://bucket/sheet.png: "),
        (("{model}", "-p", "{folder}", "-o", "sheet.gif"), "--out sheet.gif: give a file that ends in .png"),
        (
            ("{model}", "{folder}/0.png", "-p", "{folder}"),
            "{folder}/0.png is an image, not a model; name photos with --photos",
        ),
        (("{model}", "-p", "{model}"), "{model} is a model, not a photo"),
        (("{folder}/none", "-p", "{folder}"), "{folder}/none"),
        (("{model}", "-p", "{folder}/none"), "{folder}/none: no such photo"),
        (("{model}", "-p", "{folder}/broken.jpg"), "--photos {folder}/broken.jpg: none of them can be read"),
        (("{model}", "-p", "{folder}", "-o", "{folder}/0.png"), "{folder}/0.png: would be overwritten"),
        (("{model}",) * 9 + ("-p", "{folder}"), "9 models do not fit on one sheet; give at most 8"),
    ],
)
def test_mistakes_are_one_sentence(
    photos: Path, arguments: tuple[str, ...], sentence: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = (photos / "0.png").read_bytes()
    places = {"model": save_untrained(tmp_path / "model.safetensors"), "folder": str(photos)}
    code, output, error = run("compare", *(argument.format(**places) for argument in arguments))
    assert (code, output) == (2, "")
    *notes, said = error.splitlines()
    assert said.startswith(f"Error: {sentence.format(**places)}")
    assert all(note.startswith("left out: ") for note in notes)
    assert (photos / "0.png").read_bytes() == before
    assert not list(tmp_path.glob("*.png"))


def test_columns_have_names_of_their_own() -> None:
    models = ["runs/sea/model.safetensors", "runs/dunes/", "pretrained:great-wave", "great-wave.mlmodel"]
    assert _names(models) == ["sea", "dunes", "great-wave", "great-wave.mlmodel"]
    assert _names(["a/sea", "b/sea", "b/sea"]) == ["a/sea", "b/sea (2)", "b/sea (3)"]
