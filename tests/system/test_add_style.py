"""`tinystyle add-style`, whose training is a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.command_line import Run
from tinystyle.config import NetworkConfig
from tinystyle.model_file import LoadedStyles, NamedStyle, load_any, save_styles
from tinystyle.nets import build_network
from tinystyle.nets.styled import StyledNetwork, style_vector

NAMES = ("wave", "mosaic")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    network = build_network("small", 0.1)
    vector = style_vector(network)
    table = torch.stack([vector + 0.1 * torch.randn(vector.shape) for _ in NAMES])
    styles = [NamedStyle(name, f"{index}" * 64) for index, name in enumerate(NAMES)]
    file = tmp_path / "two.safetensors"
    save_styles(StyledNetwork(network, table), file, NetworkConfig(alpha=0.1), {"key": "k"}, styles)
    return file


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
