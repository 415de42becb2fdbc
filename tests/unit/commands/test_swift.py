"""`tinystyle swift` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.command_line import Run
from tests.support.models import save_untrained
from tinystyle.config import NetworkConfig
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network


@pytest.fixture(scope="module")
def mlmodel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported micro-network."""
    torch.manual_seed(0)
    config = NetworkConfig(architecture="small", alpha=0.1)
    model = LoadedModel(build_network(config.architecture, config.alpha).eval(), config, {})
    out = tmp_path_factory.mktemp("exported") / "starry-sky.mlmodel"
    return export_model(model, format="mlmodel", bits=8, size=(32, 20), out=out).path


@pytest.mark.slow
def test_it_writes_the_file_and_says_what_to_do_with_it(run: Run, mlmodel: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "SkyStyle.swift"
    code, output, error = run("swift", mlmodel, "--out", out)
    assert (code, error) == (0, "")
    assert output == f"{out}: class SkyStyle, to be added to the app beside starry-sky.mlmodel\n"
    assert 'named name: String = "starry-sky"' in out.read_text(encoding="utf-8")
    assert [path.name for path in out.parent.iterdir()] == ["SkyStyle.swift"]


def test_the_default_name_is_in_the_current_folder(
    run: Run, mlmodel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("swift", mlmodel)[0] == 0
    assert "final class StyleTransfer {" in (tmp_path / "StyleTransfer.swift").read_text(encoding="utf-8")


def test_c9i_a_trained_network_is_called_that(run: Run, tmp_path: Path) -> None:
    model = save_untrained(tmp_path / "model.safetensors")
    code, output, error = run("swift", model, "--out", tmp_path / "A.swift")
    assert (code, output) == (2, "")
    assert error.startswith(
        f"Error: {model} is a trained network, not a Core ML file; `tinystyle export {model} --out "
    )


def test_mistakes_are_one_sentence_and_leave_nothing(run: Run, mlmodel: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mlmodel"
    other.write_text("no model")
    cases = (
        ((mlmodel, "--out", tmp_path / "style.swift"), "give a name such as StyleTransfer.swift"),
        ((tmp_path / "none.mlmodel", "--out", tmp_path / "A.swift"), "none.mlmodel"),
        ((other, "--out", tmp_path / "A.swift"), "other.mlmodel"),
        ((mlmodel, "--out", other / "A.swift"), "cannot be written to"),
        ((mlmodel, "--out", tmp_path / "Double.swift"), "the name Double is taken in Swift or Apple's frameworks"),
        ((mlmodel, "--out", tmp_path / "starry_skyInput.swift"), "give a name such as StyleTransfer.swift"),
    )
    for arguments, expected in cases:
        code, output, error = run("swift", *arguments)
        assert (code, output) == (2, ""), arguments
        assert error.startswith("Error: ")
        assert expected in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other.mlmodel"]
