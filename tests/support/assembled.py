"""Assembled folders of untrained networks, as a fetched version leaves them."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.release.assemble import assemble

__all__ = ["FILES", "PHOTOS", "SIZE", "assembled_folder", "untrained"]

FILES = ["mlmodel-8", "mlpackage-int4", "onnx-16"]
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
