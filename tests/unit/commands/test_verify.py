"""`tinystyle verify` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.model_file import load_model
from tinystyle.release.card import write_card


@pytest.fixture(scope="module")
def file(micro_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro-run at 8 bits, with its card."""
    model = load_model(micro_run / "model.safetensors")
    out = tmp_path_factory.mktemp("exported") / "micro.mlmodel"
    result = export_model(model, format="mlmodel", bits=8, size=(48, 32), out=out)
    write_card(result, model, preview=None)
    return out


@pytest.mark.slow
def test_a_good_file(run: Run, file: Path, micro_run: Path, photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(file.parent, tmp_path, dirs_exist_ok=True)
    file = tmp_path / file.name
    model = micro_run / "model.safetensors"
    code, output, error = run("verify", file, "--against", model, "--photos", photo_folder, "--max-photos", 3)
    assert (code, error) == (0, "")
    assert [f"photo-{number:02d}.png" in output for number in (0, 8, 16, 1)] == [True, True, True, False]
    last = output.splitlines()[-1]
    assert last.startswith(f"{file}: verified: ")
    assert "over 3 photos the PSNR is at least" in last
    card = Path(f"{file}.md").read_text()
    assert card.endswith("finite.\n\nNot run on Apple hardware.\n")
    assert "## Verification\n\nVerified: " in card


def test_held_out_photos_as_json(run: Run, file: Path, micro_run: Path, dataset: Path) -> None:
    model = micro_run / "model.safetensors"
    code, output, error = run("verify", file, "--against", model, "--photos", dataset, "--json")
    assert (code, error) == (0, "")
    result = json.loads(output)
    assert result["passed"]
    assert [photo["name"] for photo in result["photos"]] == ["photo-00.png", "photo-01.png"]
    assert result["worst_psnr"] == min(photo["psnr"] for photo in result["photos"])
    assert (result["bits"], result["gate"], result["fold"]) == (8, 40, "nothing")


def test_a_file_that_is_not_the_network_exits_1(
    run: Run, file: Path, micro_run: Path, dataset: Path, tmp_path: Path
) -> None:
    model = micro_run / "model.safetensors"
    spoilt = tmp_path / "spoilt.mlmodel"
    content = file.read_bytes()
    middle = len(content) // 2
    spoilt.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    code, output, _ = run("verify", spoilt, "--against", model, "--photos", dataset)
    assert code == 1
    assert f"{spoilt}: NOT verified: weight of convolution '" in output
    code, output, _ = run("verify", file, "--against", model, "--photos", dataset, "--min-psnr", "150", "--json")
    assert code == 1
    assert "photo-00.png has" in json.loads(output)["failure"]


def test_mistakes_are_one_sentence(run: Run, file: Path, micro_run: Path, dataset: Path, tmp_path: Path) -> None:
    model = micro_run / "model.safetensors"
    (tmp_path / "none").mkdir()
    for arguments, sentence in (
        ((tmp_path / "absent.mlmodel", "--against", model, "--photos", dataset), "no such Core ML file"),
        ((model, "--against", model, "--photos", dataset), "not a Core ML file"),
        ((file, "--against", tmp_path / "absent", "--photos", dataset), "no such file"),
        ((file, "--against", file, "--photos", dataset), "is a Core ML file; verify --against needs the network"),
        ((file, "--against", model, "--photos", tmp_path / "none"), str(tmp_path / "none")),
        ((file, "--against", model, "--photos", tmp_path / "absent"), "absent"),
        ((file, "--against", model, "--photos", dataset, "--device"), "needs macOS"),
    ):
        code, output, error = run("verify", *arguments)
        assert (code, output) == (2, "")
        assert error.count("\n") == 1
        assert sentence in error
