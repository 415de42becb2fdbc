"""`tinystyle evaluate` as a user meets it: the table, the JSON, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command_line import Run
from tests.support.photos import synthetic_photo
from tinystyle import styles
from tinystyle.coreml import FORMATS
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.data.datamodule import PhotoDataModule
from tinystyle.data.ingest import ingest
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation import LossRow, beside_trivial, loss_row
from tinystyle.model_file import load_model
from tinystyle.training.objective import build_criterion
from tinystyle.training.record import RunRecord

LOSS = ("--style", "builtin:mosaic", "--style-size", "96", "--perceptual", "efficientnet-lite0", "--size", "48")


@pytest.fixture
def model(micro_run: Path) -> Path:
    return micro_run / "model.safetensors"


@pytest.fixture(scope="module")
def nothing_held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three photos to train on."""
    folder = tmp_path_factory.mktemp("all-training")
    (folder / "photos").mkdir()
    for i in range(3):
        synthetic_photo(i).save(folder / "photos" / f"{i}.png")
    ingest(str(folder / "photos"), str(folder / "shards"), size=64, held_out=[], workers=1)
    return folder / "shards"


def rows_of(output: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(output)["rows"]}


def held_out_rows(folder: Path, model_file: Path) -> list[LossRow]:
    """The table of a run on all its held-out photos: identity, color match, and the network in `model_file`."""
    record = RunRecord.read(folder)
    config = record.config
    device = torch.device("cpu")
    photos = PhotoDataModule(Path(record.dataset), config.data.size, config.data.batch_size, config.seed)
    criterion = build_criterion(config, photos, device)
    held_out = photos.held_out(len(photos.shards))
    model = load_model(model_file)
    name = f"{model.config.architecture} {model.config.alpha:g}"
    network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    style = photo_tensor(styles.load_style(config.style, config.style_side))
    return [
        loss_row(row, stylize, held_out, criterion) for row, stylize in beside_trivial(name, network, style).items()
    ]


@pytest.mark.slow
def test_json_has_the_losses_that_training_reports_and_the_costs(
    run: Run, model: Path, dataset: Path, micro_run: Path
) -> None:
    code, output, error = run("evaluate", model, "--photos", dataset, *LOSS, "--no-export", "--json")
    assert (code, error) == (0, "")
    rows, report = rows_of(output), json.loads(output)
    assert list(rows) == ["identity", "color match", "small 0.1"]
    for expected in held_out_rows(micro_run, model):
        row = rows[expected.name]
        assert {name: row[name] for name in expected.as_dict()} == pytest.approx(expected.as_dict())
    assert (report["count"], report["held_out"], report["short_side"]) == (2, True, 64)
    assert report["weights"] == sum(weight.numel() for weight in load_model(model).network.parameters())
    assert report["macs"] > report["activation_bytes"] > 0
    assert report["latency_ms"] > 0
    assert report["threads"] >= 1
    assert report["exports"] == []
    assert report["second"] is None, "training has seen the only other network"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_tables_name_every_figure_and_the_bytes_of_every_export(
    run: Run, model: Path, dataset: Path, tmp_path: Path
) -> None:
    code, output, error = run("evaluate", model, "--photos", dataset, *LOSS)
    assert (code, error) == (0, "")
    for word in (
        "2 held-out photos",
        "efficientnet-lite0",
        "content",
        "style",
        "total",
        "paint3",
        "score",
        "checkerboard",
    ):
        assert word in output
    for word in ("identity", "color match", "small 0.1", "multiply-accumulates", "latency", "CPU thread"):
        assert word in output
    assert max(map(len, output.splitlines())) <= 80
    for format, bits in FORMATS.items():
        out = tmp_path / f"smallest.{format}"
        exported = export_model(load_model(model), format=format, bits=min(bits), size=(640, 480), out=out)
        assert f"{exported.bytes:,}" in next(line for line in output.splitlines() if f" {format} " in line)
    assert "mlpackage, iOS 18" in output


@pytest.mark.slow
def test_a_checkpoint_and_a_folder_of_photos_will_do(run: Run, micro_run: Path, photo_folder: Path) -> None:
    command = (micro_run / "last.ckpt", "--photos", photo_folder, *LOSS, "--no-export", "--json")
    code, output, _ = run("evaluate", *command, "--all-photos", "--max-photos", "3")
    assert code == 0
    report = json.loads(output)
    assert (report["count"], report["held_out"], report["short_side"]) == (3, False, 48)
    assert rows_of(output)["identity"]["style"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_weights_of_the_losses_make_the_total(run: Run, model: Path, dataset: Path) -> None:
    weights = ("--content-weight", "3", "--style-weight", "0.5")
    _, output, _ = run("evaluate", model, "--photos", dataset, *LOSS, *weights, "--no-export", "--json")
    for row in rows_of(output).values():
        assert row["total"] == pytest.approx(3 * row["content"] + 0.5 * row["style"])


@pytest.mark.slow
def test_without_held_out_photos_all_photos_is_the_way_out(run: Run, model: Path, nothing_held_out: Path) -> None:
    command = (model, "--photos", nothing_held_out, *LOSS, "--no-export", "--json")
    code, output, error = run("evaluate", *command)
    assert (code, output) == (2, "")
    assert error.count("\n") == 1
    assert "holds no held-out photo" in error
    assert "--all-photos" in error
    code, output, _ = run("evaluate", *command, "--all-photos")
    assert code == 0
    assert json.loads(output)["count"] == 3
    assert rows_of(output)["identity"]["style"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "{bad}/no.safetensors --photos {dataset}",
            "no.safetensors: no such file; give a model.safetensors or a .ckpt",
        ),
        ("{bad}/text.ckpt --photos {dataset}", "text.ckpt: not a checkpoint that tinystyle saved"),
        (
            "{bad}/a.mlmodel --photos {dataset}",
            "a.mlmodel is a Core ML file; evaluate needs the network it was exported from",
        ),
        (
            "{bad}/a.mlpackage --photos {dataset}",
            "a.mlpackage is a Core ML file; evaluate needs the network it was exported from",
        ),
        ("{model} --photos {bad}/nowhere", "nowhere"),
        ("{model} --photos {bad}/empty", "empty"),
        ("{model} --photos {bad}/texts", "holds no usable photo"),
        ("{model} --photos {dataset} --size 65", "holds photos with a short side of 64 pixels"),
        ("{model} --photos {dataset} --size 8", "--size 8: input should be greater than or equal to 32"),
        ("{model} --photos {dataset} --style {bad}/no.jpg", "no.jpg cannot be read (no such file)"),
        ("{model} --photos {dataset} --style-weight -1", "--style-weight -1"),
        ("{model} --photos {dataset} --perceptual vgg9", "vgg9"),
        ("{model} --photos {dataset} --perceptual vgg16 --perceptual-weights {bad}/no.pth", "no.pth"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: str, sentence: str, run: Run, model: Path, dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jpg").write_text("no photo")
    named = arguments.format(bad=tmp_path, model=model, dataset=dataset).split()
    code, output, error = run("evaluate", *LOSS, *named, "--no-export")
    assert (code, output) == (2, "")
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    assert sentence in error
