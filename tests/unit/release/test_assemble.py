"""The folder of a trained style: complete, verified, the same every time, or not there."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.assembled import FILES, PHOTOS, SIZE, assembled_folder, untrained
from tests.support.files import contents
from tinystyle.coreml.package import content_sha256
from tinystyle.errors import UserError
from tinystyle.evaluation.model_report import ModelReport
from tinystyle.evaluation.rows import QualityRow
from tinystyle.exports.verify import verify
from tinystyle.model_file import load_model
from tinystyle.release.assemble import assemble
from tinystyle.release.bundle import Bundle, check_files
from tinystyle.release.package_zip import unzip_package
from tinystyle.release.publishing.folder import Publication


def test_the_folder_is_complete(assembled: Path) -> None:
    assert sorted(contents(assembled)) == [
        "exports/StyleTransfer.swift",
        "exports/files.json",
        "exports/mosaic-16.onnx",
        "exports/mosaic-16.onnx.md",
        "exports/mosaic-16.onnx.png",
        "exports/mosaic-8.mlmodel",
        "exports/mosaic-8.mlmodel.md",
        "exports/mosaic-8.mlmodel.png",
        "exports/mosaic-int4.mlpackage.md",
        "exports/mosaic-int4.mlpackage.png",
        "exports/mosaic-int4.mlpackage.zip",
        "model/model.safetensors",
    ]
    assert 'named name: String = "mosaic-8"' in (assembled / "exports" / "StyleTransfer.swift").read_text()


def test_the_listing_is_true_of_every_file(assembled: Path, tmp_path: Path) -> None:
    entries = Bundle(assembled).entries()
    assert [(e.format, e.bits, e.minimum_ios, e.runs_on) for e in entries] == [
        ("mlmodel", 8, 13, "Core ML (iOS 13, macOS 10.15)"),
        ("mlpackage", 4, 18, "Core ML (iOS 18, macOS 15)"),
        ("onnx", 16, None, "ONNX Runtime (Android, Windows, Linux, macOS, iOS, web)"),
    ]
    assert [entry.verified_by.split()[0] for entry in entries] == ["tinystyle's", "tinystyle's", "ONNX"]
    for entry in entries:
        download = assembled / "exports" / entry.name
        assert entry.bytes == download.stat().st_size
        assert entry.sha256 == hashlib.sha256(download.read_bytes()).hexdigest()
        assert (entry.input, entry.output, entry.sizes.choices) == ("image", "stylized", ((48, 32),))
        file = unzip_package(download, tmp_path) if entry.name.endswith(".zip") else download
        found = verify(file, load_model(assembled / "model" / "model.safetensors"), PHOTOS)
        assert found.passed
        assert found.worst == pytest.approx(entry.psnr, abs=0.01)
        assert (found.runtime or entry.verified_by) == entry.verified_by
        card = (assembled / "exports" / f"{entry.export_name}.md").read_text()
        assert content_sha256(file) in card
        assert f"Verified: {found.weights:,} values" in card


@pytest.mark.slow
def test_the_same_network_gives_the_same_bytes(assembled: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()  # an empty folder will do
    assert contents(assembled_folder(tmp_path / "again", 1)) == contents(assembled)


@pytest.mark.slow
def test_a_style_that_no_core_ml_runs(tmp_path: Path) -> None:
    pytest.importorskip("coreai_torch", reason="the extra coreai is not installed")
    arguments: dict[str, Any] = {"style": "mosaic", "size": SIZE, "photos": PHOTOS}
    entries = assemble(untrained(1), tmp_path / "folder", files=["aimodel-16", "onnx-16"], **arguments)
    assert [(entry.name, entry.runtime, entry.minimum_ios) for entry in entries] == [
        ("mosaic-16.aimodel.zip", "Core AI", 27),
        ("mosaic-16.onnx", "ONNX Runtime", None),
    ]
    assert entries[0].platforms == {"iOS": "27", "macOS": "27"}
    assert "Apple's Core AI runtime" in entries[0].verified_by
    assert not Bundle(tmp_path / "folder").swift.exists()
    publication = Publication.read(tmp_path / "folder", "mosaic", 1)
    assert publication.entry(datetime.now(UTC), None).swift is None
    assert "mosaic/1/mosaic-16.aimodel.md" in publication.files


def test_a_folder_of_the_time_when_there_was_only_core_ml(assembled: Path, tmp_path: Path) -> None:
    folder = tmp_path / "before"
    shutil.copytree(assembled, folder)
    listing = json.loads((folder / "exports" / "files.json").read_text())[:2]
    for entry in listing:
        del entry["runtime"], entry["platforms"], entry["verified_by"]
    (folder / "exports").rename(folder / "coreml")
    (folder / "coreml" / "files.json").write_text(json.dumps(listing))
    assert Bundle(folder).check() == Bundle(assembled).entries()[:2]


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
            "no file 'mlmodel-5' to export",
        ),
        ({"files": ["mlmodel-8", "mlmodel-8"]}, "each once"),
        ({"files": []}, "at least one file to export"),
        ({"size": "50x32"}, "50x32 is not possible"),
        ({"size": "48x32,32x48"}, "an .mlmodel takes images of one size"),
        ({"size": "48x32,32x48", "files": ["onnx-8", "aimodel-16"]}, "an .aimodel takes images of one size"),
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
        ("[]", "names no exported file"),
    ],
)
def test_a_listing_that_cannot_be_used(text: str | None, complaint: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "exports").mkdir()
        (tmp_path / "exports" / "files.json").write_text(text)
    with pytest.raises(UserError, match=f"files.json {complaint}"):
        Bundle(tmp_path).entries()


def test_a_listing_cannot_reach_out_of_its_folder(assembled: Path, tmp_path: Path) -> None:
    text = (assembled / "exports" / "files.json").read_text()
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "files.json").write_text(text.replace("mosaic-8.mlmodel", "../../secret"))
    with pytest.raises(UserError, match="not a plain file name"):
        Bundle(tmp_path).entries()
