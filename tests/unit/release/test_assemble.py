"""The folder of a trained style: complete, verified, the same every time, or not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.assembled import FILES, PHOTOS, SIZE, assembled_folder, untrained
from tests.support.files import contents
from tinystyle.coreml.package import content_sha256
from tinystyle.coreml.verification.verify import verify
from tinystyle.errors import UserError
from tinystyle.evaluation.model_report import ModelReport
from tinystyle.evaluation.rows import QualityRow
from tinystyle.model_file import load_model
from tinystyle.release.assemble import assemble
from tinystyle.release.bundle import Bundle, check_files
from tinystyle.release.package_zip import unzip_package


def test_the_folder_is_complete(assembled: Path) -> None:
    assert sorted(contents(assembled)) == [
        "coreml/StyleTransfer.swift",
        "coreml/files.json",
        "coreml/mosaic-8.mlmodel",
        "coreml/mosaic-8.mlmodel.md",
        "coreml/mosaic-8.mlmodel.png",
        "coreml/mosaic-int4.mlpackage.md",
        "coreml/mosaic-int4.mlpackage.png",
        "coreml/mosaic-int4.mlpackage.zip",
        "model/model.safetensors",
    ]
    assert 'named name: String = "mosaic-8"' in (assembled / "coreml" / "StyleTransfer.swift").read_text()


def test_the_listing_is_true_of_every_file(assembled: Path, tmp_path: Path) -> None:
    entries = Bundle(assembled).entries()
    assert [(e.format, e.bits, e.minimum_ios) for e in entries] == [("mlmodel", 8, 13), ("mlpackage", 4, 18)]
    for entry in entries:
        download = assembled / "coreml" / entry.name
        assert entry.bytes == download.stat().st_size
        assert entry.sha256 == hashlib.sha256(download.read_bytes()).hexdigest()
        assert (entry.input, entry.output, entry.sizes.choices) == ("image", "stylized", ((48, 32),))
        file = unzip_package(download, tmp_path) if entry.name.endswith(".zip") else download
        found = verify(file, load_model(assembled / "model" / "model.safetensors"), PHOTOS)
        assert found.passed
        assert found.worst == pytest.approx(entry.psnr, abs=0.01)
        card = (assembled / "coreml" / f"{entry.coreml_name}.md").read_text()
        assert content_sha256(file) in card
        assert f"Verified: {found.weights:,} values" in card


@pytest.mark.slow
def test_the_same_network_gives_the_same_bytes(assembled: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()  # an empty folder will do
    assert contents(assembled_folder(tmp_path / "again", 1)) == contents(assembled)


@pytest.mark.slow
def test_what_is_known_of_the_run_goes_along(tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "folder"
    run.mkdir()
    (run / "run.json").write_text('{"state": "completed"}')
    losses = {"content": 0.5, "style": 0.4, "total": 1.3, "paint3": 0.3, "paint4": 0.7, "score": 2.5}
    artifacts = {"bad_blocks": 0.0, "worst_photo": 0.0, "checkerboard": 1.0, "border_error": 2.0, "flicker": 3.0}
    row = QualityRow("small 0.1", **losses, **artifacts, second3=None, second4=None)
    report = ModelReport(
        "m", "p", "s", "small 0.1", 2, 64, True, "vgg16", None, 96, 1.0, 2.0, [row], 1500, 10, 10, 5.0, 1, []
    )  # fmt: skip
    assemble(
        untrained(1),
        folder,
        style="a",
        files=["mlmodel-32"],
        size=SIZE,
        photos=PHOTOS,
        run_record=run / "run.json",
        report=report,
    )
    assert (folder / "model" / "run.json").read_bytes() == (run / "run.json").read_bytes()
    assert json.loads((folder / "evaluation.json").read_bytes())["rows"][0]["total"] == 1.3


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"files": ["mlmodel-8", "mlmodel-5"]},
            "no Core ML file 'mlmodel-5'",
        ),
        ({"files": ["mlmodel-8", "mlmodel-8"]}, "each once"),
        ({"files": []}, "at least one Core ML file"),
        ({"size": "50x32"}, "50x32 is not possible"),
        ({"size": "48x32,32x48"}, "an .mlmodel takes images of one size"),
        ({"style": "Starry Night"}, "style 'Starry Night': use up to 60"),
        ({"photos": []}, "no photo"),
    ],
)
def test_what_is_not_possible_is_said_before_any_work(changes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"style": "mosaic", "files": FILES, "size": SIZE, "photos": PHOTOS, **changes}
    with pytest.raises(UserError, match=complaint):
        assemble(untrained(1), tmp_path / "folder", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="is not empty"):
        assemble(untrained(1), tmp_path, style="mosaic", files=FILES, size=SIZE, photos=PHOTOS)
    assert contents(tmp_path) == {"mine": b"precious"}


@pytest.mark.slow
def test_a_file_that_is_not_the_network_is_named_and_nothing_stays(tmp_path: Path) -> None:
    model = untrained(1)
    with torch.no_grad():  # one weight so large that eight bits leave nothing of the others
        model.network.down[0].conv.weight[:, 0, 0, 0] = 30
    with pytest.raises(UserError, match=r"mlmodel-8 of mosaic is NOT verified"):
        assemble(
            model, tmp_path / "folder", style="mosaic", files=["mlmodel-32", "mlmodel-8"], size=SIZE, photos=PHOTOS
        )
    assert not list(tmp_path.iterdir())


def test_names_of_files() -> None:
    assert check_files(["mlmodel-8", "mlpackage-4", "mlpackage-int4"]) == [
        ("mlmodel", 8, 16),
        ("mlpackage", 4, 16),
        ("mlpackage", 4, 18),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        ("[{}]", "is damaged"),
        ("[]", "names no Core ML file"),
    ],
)
def test_a_listing_that_cannot_be_used(text: str | None, complaint: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "coreml").mkdir()
        (tmp_path / "coreml" / "files.json").write_text(text)
    with pytest.raises(UserError, match=f"files.json {complaint}"):
        Bundle(tmp_path).entries()


def test_a_listing_cannot_reach_out_of_its_folder(assembled: Path, tmp_path: Path) -> None:
    text = (assembled / "coreml" / "files.json").read_text()
    (tmp_path / "coreml").mkdir()
    (tmp_path / "coreml" / "files.json").write_text(text.replace("mosaic-8.mlmodel", "../../secret"))
    with pytest.raises(UserError, match="not a plain file name"):
        Bundle(tmp_path).entries()
