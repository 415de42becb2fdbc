"""`tinystyle add-style`, whose training is a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.command_line import Run
from tests.support.models import save_untrained_styles
from tinystyle.model_file import LoadedStyles, load_any

NAMES = ("wave", "mosaic")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_untrained_styles(tmp_path / "two.safetensors", *NAMES)


@pytest.mark.slow
def test_add_style(run: Run, dataset: Path, model: Path, tmp_path: Path) -> None:
    options = ("--photos", dataset, "--perceptual", "narrow", "--size", "48", "--style-size", "96", "--threads", "1")
    plan = ("--steps", "3", "--no-track", "--out", tmp_path / "three")
    code, text, error = run("add-style", model, "sky=builtin:starry-sky", *options, *plan)
    assert code == 0, error
    assert "--style sky" in text
    before, after = load_any(model), load_any(tmp_path / "three" / "model.safetensors")
    assert isinstance(before, LoadedStyles)
    assert isinstance(after, LoadedStyles)
    assert after.names == (*NAMES, "sky")
    assert torch.equal(after.network.styles[:2], before.network.styles)
    code, _, error = run("add-style", model, "wave=builtin:starry-sky", *options, "--out", tmp_path / "again")
    assert code == 2
    assert "has a style wave already" in error
    code, _, error = run("add-style", model, "builtin:mosaik", "--out", tmp_path / "again")
    assert code == 2
    assert not (tmp_path / "again" / "run.json").exists()
