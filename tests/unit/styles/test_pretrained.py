"""Styles that ship with the package: found by name, read back whole, listed; and what is asked when there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.support.command_line import Run
from tests.support.photos import synthetic_photo
from tests.support.runs import micro_config
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation.artifacts import border_error, checkerboard_energy
from tinystyle.model_file import load_model, save_model
from tinystyle.styles import pretrained

RECORD = {"painting": "Blots, Nobody, 2026", "network": "small 0.1", "crop": "48", "steps": "20", "paint3": "0.5"}


@pytest.fixture
def shipped(micro_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one style, `blots`, in place of the package's."""
    model = load_model(micro_run / "model.safetensors")
    file = tmp_path / "shipped" / "blots.safetensors"
    save_model(model.network, file, model.config, model.lineage, record=RECORD, dtype=torch.float16)
    monkeypatch.setattr(pretrained, "_FOLDER", file.parent)
    return file


def test_a_style_by_name_is_the_network_within_float16(shipped: Path, micro_run: Path) -> None:
    ours, whole = load_model("pretrained:blots"), load_model(micro_run / "model.safetensors")
    assert (ours.config, ours.lineage) == (whole.config, whole.lineage)
    for name, tensor in ours.network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, whole.network.state_dict()[name].half().float())
    assert shipped.stat().st_size < 0.7 * (micro_run / "model.safetensors").stat().st_size
    assert pretrained.record_of("blots") == RECORD


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_stylize_and_export_take_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "previews").mkdir()
    synthetic_photo(9, 8, 8).save(tmp_path / "previews" / "step-000001.png")  # of something else
    synthetic_photo(1, 60, 40).save(tmp_path / "cat.png")
    code, output, _ = run("stylize", "pretrained:blots", "cat.png")
    assert (code, output) == (0, "stylized/cat.png\n")
    with Image.open(tmp_path / "stylized" / "cat.png") as image:
        assert image.size == (60, 40)
    code, _, error = run("export", "pretrained:blots", "--format", "mlmodel", "--size", "64x48", "--out", "a.mlmodel")
    assert (code, error) == (0, "")
    assert not (tmp_path / "a.mlmodel.png").exists(), "the folder's previews are another model's"


@pytest.mark.usefixtures("shipped")
def test_training_starts_from_it(dataset: Path, tmp_path: Path) -> None:
    from tinystyle.styles import Style
    from tinystyle.training.initial import initial_network
    from tinystyle.training.launch import prepare

    config = micro_config(dataset, steps=1).model_copy(update={"init_from": "pretrained:blots"})
    record = prepare(config, tmp_path / "run", resume=True)
    assert len(record.lineage["init_from"]) == 64
    start = initial_network(config, Style.load(config.style)).state_dict()
    for name, tensor in load_model("pretrained:blots").network.state_dict().items():
        assert torch.equal(start[name], tensor)


@pytest.mark.usefixtures("shipped")
def test_styles_lists_what_there_is(run: Run) -> None:
    code, output, _ = run("styles")
    assert code == 0
    for text in ("pretrained:blots", "builtin:wave", "builtin:mosaic"):
        assert text in output
    _, output, _ = run("styles", "--json")
    assert json.loads(output)["pretrained"] == {"pretrained:blots": RECORD}


def test_an_unknown_name_is_one_sentence(run: Run, shipped: Path) -> None:
    code, output, error = run("stylize", "pretrained:none", "cat.png")
    assert (code, output) == (2, "")
    assert error == "Error: pretrained:none: no such style; choose from pretrained:blots\n"
    shutil.rmtree(shipped.parent)
    _, _, error = run("export", "pretrained:x", "--format", "mlmodel", "--out", "a.mlmodel")
    assert error == "Error: pretrained:x: no such style; choose from none\n"
    assert "No trained style ships" in run("styles")[1]


STYLES = ("composition-vii", "great-wave", "poppy-field", "shipwreck", "starry-night")


def test_five_styles_ship() -> None:
    assert tuple(pretrained.names()) == STYLES


@pytest.mark.parametrize("name", STYLES)
def test_what_ships_is_small_and_says_what_it_is(name: str) -> None:
    path = pretrained.path_of(f"pretrained:{name}")
    assert path.stat().st_size < 30_000
    record = pretrained.record_of(name)
    assert record["network"] == "small 0.3"
    assert record["weights"] == "11868"
    assert record["painting"].count(", ") == 2, "title, painter, year"
    assert int(record["crop"]) >= 192
    assert "/" not in json.dumps(record), "no path of the machine that trained it"
    assert float(record["content"]) <= 1.55
    assert float(record["paint3"]) < 0.5
    assert float(record["paint4"]) < 0.8


def test_c6_what_ships_paints_a_photograph() -> None:
    """Each its own way, on a photograph that ships in a package: no hole, frame or weave, no copy of the photo or another."""
    photo = photo_tensor(load_sample_image("china.jpg"))
    with torch.inference_mode():
        pictures = {name: load_model(f"pretrained:{name}").network(photo) for name in STYLES}
    for name, picture in pictures.items():
        assert (picture <= 5).all(1).float().mean() < 0.02, f"{name} is black in places"
        assert checkerboard_energy(picture, photo).mean() < 2, f"{name} weaves"
        assert border_error(load_model(f"pretrained:{name}").network, photo, picture).mean() < 3, f"{name} has a frame"
        for other, another in {**pictures, "the photo": photo}.items():
            assert other == name or (picture - another).abs().mean() > 10, f"{name} is {other}"
