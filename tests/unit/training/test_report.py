"""`tinystyle report`: a run as a page, whatever state it is in."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.support.command_line import Run
from tinystyle.training.record import RunRecord

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(micro_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_run, tmp_path / "run"))


def pictures(page: str) -> list[str]:
    return re.findall(r'<img[^>]* src="([^"]+)"', page)


def test_c11_a_run_as_a_page_that_needs_no_server(folder: Path, run: Run) -> None:
    record = RunRecord.read(folder)
    code, output, error = run("report", folder)
    assert (code, output, error) == (0, f"{folder / 'report.html'}\n", "")
    page = (folder / "report.html").read_text()
    assert "The training is complete, with\n20 of 20 steps." in page
    assert f"<td>{record.results['held_out_paint3']:.3g}</td>" in page
    assert re.search(r'<tr class="front"><th scope="row">steps</th><td class="path">20 ', page)
    assert re.search(r'<tr><th scope="row">clip_norm</th>', page)
    assert record.lineage["key"] in page
    *previews, curves = pictures(page)
    assert len(previews) == len(list((folder / "previews").glob("*.png")))
    for uri in previews:
        with Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))) as image:
            image.load()
    drawing = ElementTree.fromstring(base64.b64decode(curves.removeprefix("data:image/svg+xml;base64,")))
    assert {"content loss", "style loss", "style weight", "learning rate", "step"} <= set(drawing.itertext())
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page), "it loads nothing"
    before = page
    assert run("report", folder / "run.json", "-o", folder.parent / "again.html")[0] == 0
    assert (folder.parent / "again.html").read_text() == before


def test_a_run_that_has_only_begun_or_came_to_harm(folder: Path, run: Run) -> None:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text(
        "\n".join(
            [
                *lines[:9],
                "",
                '{"step": 10, "cont',
                '{"step": 7}',
                '{"step": 8, "content": "x", "style": []}',
                *lines[9:12],
            ]
        )
        + "\n"
    )
    RunRecord.read(folder).update(folder, state="failed", message="its <disk> is full", step=10)
    assert run("report", folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert "The training failed at\n10 of 20 steps. Its &lt;disk&gt; is full." in page

    shutil.rmtree(folder / "previews")
    (folder / "metrics.jsonl").unlink()
    RunRecord.read(folder).update(folder, state="running", message="", results={}, step=0)
    assert run("report", folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert "The training is at\n0 of 20 steps." in page
    assert pictures(page) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{folder}/none",), "{folder}/none: has no run.json; give the folder of a run"),
        (("{folder}/previews",), "{folder}/previews: has no run.json; give the folder of a run"),
        (("{folder}", "-o", "page.pdf"), "--out page.pdf: give a file that ends in .html"),
        (("s3://bucket/run",), "RUN s3://bucket/run: "),
        (("{folder}", "-o", "s3://bucket/page.html"), "--out s3://bucket/page.html: "),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, arguments: tuple[str, ...], sentence: str, run: Run) -> None:
    code, output, error = run("report", *(argument.format(folder=folder) for argument in arguments))
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"Error: {sentence.format(folder=folder)}")


def test_a_damaged_record_is_one_sentence(folder: Path, run: Run) -> None:
    (folder / "run.json").write_text("{")
    code, _, error = run("report", folder)
    assert code == 2
    assert error.startswith(f"Error: {folder / 'run.json'} is damaged or not the record of a run")
