"""Assembled folders of two untrained networks, as a fetched version leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.release.assemble import assemble

FILES = ["mlmodel-8", "mlpackage-int4"]
SIZE = "48x32"
PHOTOS = [("a.png", synthetic_photo(1)), ("b.png", synthetic_photo(2))]


def untrained(seed: int) -> LoadedModel:
    """`small` of three filters."""
    torch.manual_seed(seed)
    config = NetworkConfig(architecture="small", alpha=0.1)
    return LoadedModel(
        build_network(config.architecture, config.alpha).eval(), config, {"key": f"{seed:016x}", "style_name": "mosaic"}
    )


def assembled_folder(folder: Path, seed: int) -> Path:
    """The folder of `untrained(seed)` as the style mosaic, with a preview."""
    assemble(untrained(seed), folder, style="mosaic", files=FILES, size=SIZE, photos=PHOTOS, preview=synthetic_photo(3))
    return folder


@pytest.fixture(scope="session")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The style mosaic, not to be changed."""
    return assembled_folder(tmp_path_factory.mktemp("assembled") / "first", 1)


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same style of another network, not to be changed."""
    return assembled_folder(tmp_path_factory.mktemp("assembled") / "second", 3)


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
