"""The registry before any server is asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bundles import bundle_in
from tests.support.command_line import Run
from tinystyle.errors import UserError
from tinystyle.tracking.registry import log_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished model's folder, and no server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    return bundle_in(tmp_path / "model", tmp_path)


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "model" / "model.safetensors").unlink(), "holds no model/model.safetensors"),
        (lambda folder: (folder / "exports" / "files.json").unlink(), "exports/files.json cannot be read"),
        (write("exports/files.json", "["), "files.json is damaged"),
        (write("exports/files.json", "[]"), "files.json names no exported file"),
        (
            lambda folder: shutil.rmtree(folder / "exports" / "mosaic.mlpackage"),
            "names mosaic.mlpackage.zip, which is not",
        ),
        (write("exports/mosaic.mlpackage/Manifest.json", "[]"), "mosaic.mlpackage.zip is not what files.json says"),
        (write("evaluation.json", "{}"), "evaluation.json is damaged"),
    ],
)
def test_what_is_no_finished_model_is_refused_before_the_server_is_asked(
    model: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(model)
    with pytest.raises(UserError, match=sentence):
        log_model("0" * 32, model)


def test_no_store_in_this_folder_is_said_and_none_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    code, _, error = run("models")
    assert code == 2
    assert (
        error
        == "Error: there is no MLflow store at sqlite:///mlflow.db; set MLFLOW_TRACKING_URI to the server's address\n"
    )
    assert not any(tmp_path.iterdir())
