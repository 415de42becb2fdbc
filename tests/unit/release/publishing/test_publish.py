"""Publishing to a local folder. tests/system/test_publishing.py does the same through S3."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path

import jsonschema
import pytest

from tests.support.command_line import Run
from tests.support.files import contents
from tests.support.stories import race
from tinystyle.errors import UserError
from tinystyle.release.publishing import check_published, presign, publish_folder, read_index, rollback


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def two_versions(assembled: Path, retrained: Path, root: Path) -> Path:
    """A root that holds two versions of mosaic."""
    publish_folder(assembled, style="mosaic", version=1, root=str(root))
    publish_folder(retrained, style="mosaic", version=2, root=str(root), reason="better")
    return root


@pytest.mark.slow
def test_everything_an_app_needs_is_there(assembled: Path, root: Path) -> None:
    published = publish_folder(assembled, style="mosaic", version=1, root=str(root), run_id="r", metrics={"total": 1.5})
    folder = root / "mosaic" / "1"
    assert sorted(contents(folder)) == [
        "SHA256SUMS", "StyleTransfer.swift", "model.safetensors", "mosaic-16.onnx", "mosaic-16.onnx.md",
        "mosaic-16.onnx.png", "mosaic-8.mlmodel", "mosaic-8.mlmodel.md",
        "mosaic-8.mlmodel.png", "mosaic-int4.mlpackage.md", "mosaic-int4.mlpackage.png", "mosaic-int4.mlpackage.zip",
    ]  # fmt: skip
    document = json.loads((root / "index.json").read_bytes())
    jsonschema.validate(document, json.loads((root / "index.schema.json").read_bytes()))
    (style,) = document["styles"]
    assert (style["name"], style["current"]) == ("mosaic", 1)
    (version,) = style["versions"]
    assert (version["run_id"], version["metrics"]) == ("r", {"total": 1.5})
    addresses = [version["swift"], version["model"], version["checksums"]]
    addresses += [file[name] for file in version["files"] for name in ("url", "card", "preview")]
    assert sorted(addresses) == sorted(f"mosaic/1/{name}" for name in contents(folder))
    assert published == read_index(str(root)).style("mosaic").version()  # type: ignore[union-attr]


def test_losses_come_from_the_evaluation(assembled: Path, root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(assembled, tmp_path / "evaluated")
    row = {"name": "small", "content": 0.5, "style": 0.25, "total": 1.0, "bad_blocks": 0.0, "border_error": 3.0}
    (folder / "evaluation.json").write_text(json.dumps({"rows": [{"name": "identity"}, row], "weights": 1545}))
    metrics = publish_folder(folder, style="mosaic", version=1, root=str(root)).metrics
    assert metrics == {"content": 0.5, "style": 0.25, "total": 1.0, "bad_blocks": 0.0, "weights": 1545.0}
    (folder / "evaluation.json").write_text(json.dumps({"rows": [{**row, "paint3": 0.4}], "weights": 1545}))
    assert publish_folder(folder, style="mosaic", version=2, root=str(root)).metrics["paint3"] == 0.4


@pytest.mark.slow
def test_published_again_changes_nothing(assembled: Path, two_versions: Path) -> None:
    before = contents(two_versions)
    again = publish_folder(assembled, style="mosaic", version=1, root=str(two_versions))
    assert again.version == 1
    assert contents(two_versions) == before


def test_a_version_never_changes(retrained: Path, two_versions: Path) -> None:
    before = contents(two_versions)
    with pytest.raises(UserError, match="1/SHA256SUMS holds other bytes"):
        publish_folder(retrained, style="mosaic", version=1, root=str(two_versions))
    assert contents(two_versions) == before


def test_back_and_forth(two_versions: Path) -> None:
    root = str(two_versions)
    files = {name: data for name, data in contents(two_versions).items() if name.startswith("mosaic/")}
    assert rollback("mosaic", root).version == 1
    with pytest.raises(UserError, match=r"mosaic has no version before 1"):
        rollback("mosaic", root)
    with pytest.raises(UserError, match="version 1 of mosaic is the current one"):
        rollback("mosaic", root, 1)
    with pytest.raises(UserError, match=r"version 3 of mosaic is not published .*2, 1"):
        rollback("mosaic", root, 3)
    with pytest.raises(UserError, match=r"aurora is not published .*mosaic"):
        rollback("aurora", root)
    assert rollback("mosaic", root, 2, reason="was good after all").version == 2
    style = read_index(root).style("mosaic")
    assert style is not None
    assert style.current == 2
    assert [(entry.action, entry.version, entry.reason) for entry in style.history] == [
        ("publish", 1, "published"),
        ("publish", 2, "better"),
        ("rollback", 1, "back from version 2"),
        ("rollback", 2, "was good after all"),
    ]
    assert [entry.time for entry in style.history] == sorted(entry.time for entry in style.history)
    assert {name: data for name, data in contents(two_versions).items() if name.startswith("mosaic/")} == files


def test_publishers_at_once_all_land(assembled: Path, root: Path) -> None:
    race(assembled, str(root))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("exports/mosaic-8.mlmodel", "mosaic-8.mlmodel is not what files.json says"),
        ("exports/mosaic-int4.mlpackage.md", None),
        ("exports/StyleTransfer.swift", None),
        ("model/model.safetensors", None),
    ],
)
def test_a_folder_that_is_damaged_or_incomplete(
    name: str, complaint: str | None, assembled: Path, root: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(assembled, tmp_path / "damaged")
    if complaint:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
    else:
        (folder / name).unlink()
    with pytest.raises(UserError, match=complaint or rf"{name} cannot be read"):
        publish_folder(folder, style="mosaic", version=1, root=str(root))
    assert not root.exists()


def test_a_style_without_a_preview(assembled: Path, root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(assembled, tmp_path / "plain")
    for picture in folder.rglob("*.png"):
        picture.unlink()
    published = publish_folder(folder, style="mosaic", version=1, root=str(root))
    assert [file.preview for file in published.files] == [None] * 3
    check_published("mosaic", str(root))


def test_what_has_rotted_is_found(two_versions: Path) -> None:
    root = str(two_versions)
    file = two_versions / "mosaic" / "1" / "mosaic-8.mlmodel"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?")
    check_published("mosaic", root)  # the current one
    with pytest.raises(UserError, match=r"mosaic/1/mosaic-8.mlmodel does not hold"):
        check_published("mosaic", root, 1)
    file.unlink()
    with pytest.raises(UserError, match=r"mosaic/1/mosaic-8.mlmodel is missing"):
        check_published("mosaic", root, 1)


def test_a_lost_file_comes_back_by_publishing_again(assembled: Path, two_versions: Path) -> None:
    before = contents(two_versions)
    (two_versions / "mosaic" / "1" / "StyleTransfer.swift").unlink()
    publish_folder(assembled, style="mosaic", version=1, root=str(two_versions))
    assert contents(two_versions) == before


def test_a_damaged_index_is_never_replaced(assembled: Path, root: Path) -> None:
    root.mkdir()
    (root / "index.json").write_text("half an ind")
    with pytest.raises(UserError, match=r"index.json is damaged"):
        publish_folder(assembled, style="mosaic", version=1, root=str(root))
    assert contents(root) == {"index.json": b"half an ind"}


@pytest.mark.parametrize("uri", ["memory://models", "https://example.org/models", "s3://"])
def test_roots_that_cannot_be(uri: str, assembled: Path) -> None:
    with pytest.raises(UserError, match=f"{uri}: .*; give "):
        publish_folder(assembled, style="mosaic", version=1, root=uri)


def test_links(two_versions: Path) -> None:
    swift = two_versions / "mosaic" / "2" / "StyleTransfer.swift"
    with urllib.request.urlopen(presign(str(swift), 60)) as answer:
        assert answer.read() == swift.read_bytes()
    for seconds in (0, 604801):
        with pytest.raises(UserError, match=f"not {seconds} s"):
            presign(str(swift), seconds)
    with pytest.raises(UserError, match="s3://models: names no file"):
        presign("s3://models", 60)


def test_on_the_command_line(assembled: Path, retrained: Path, root: Path, run: Run) -> None:
    def publish(folder: Path, version: object) -> tuple[int, str, str]:
        return run("publish", "mosaic", "--folder", folder, "--version", version, "--root", root)

    assert run("published", "--root", root) == (0, f"nothing is published at {root}\n", "")
    assert publish(assembled, 1) == (0, f"version 1 of mosaic is published at {root}: 3 files\n", "")
    assert publish(retrained, 2)[0] == 0
    code, output, _ = publish(assembled, 1)
    assert code == 0
    assert output.splitlines()[1] == (
        "the index points to version 2, and is left there: tinystyle rollback mosaic --version 1 points it to this one"
    )
    code, output, _ = run("rollback", "mosaic", "--root", root, "--reason", "too blue")
    assert (code, output) == (0, f"version 1 of mosaic is the current one at {root}\n")
    code, output, _ = run("published", "mosaic", "--root", root, "--json")
    (style,) = json.loads(output)["styles"]
    assert (style["current"], style["history"][-1]["reason"]) == (1, "too blue")
    code, output, _ = run("published", "--root", root)
    assert "mosaic-int4.mlpackage.zip" in output
    assert "ONNX Runtime" in output
    code, output, _ = run("published", "--root", root, "--links", "24")
    assert output.splitlines()[0] == (root / "mosaic" / "1" / "mosaic-8.mlmodel").as_uri()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["rollback", "mosaic"], "mosaic is not published at {root}; nothing is"),
        (["published", "mosaic"], "mosaic is not published at {root}; "),
        (["publish", "mosaic", "--folder", "{root}"], "--version champion: with --folder, give the number"),
        (["publish", "mosaic", "--folder", "{root}", "--version", "1"], "{root}/exports/files.json cannot be read"),
        (["publish", "mosaic", "--folder", "{folder}", "--version", "0"], "version 0 of mosaic cannot be published"),
        (["publish", "No Style", "--folder", "{folder}", "--version", "1"], "style 'No Style': use up to 60"),
    ],
)
def test_mistakes_are_one_sentence(line: list[str], complaint: str, run: Run, root: Path, assembled: Path) -> None:
    arguments = [word.format(root=root, folder=assembled) for word in line]
    code, output, error = run(*arguments, "--root", root)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert complaint.format(root=root) in error
    assert not root.exists()
