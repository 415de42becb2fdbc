"""What must not change unnoticed: run keys, by which work is known to be done, and the bytes of exports.

`stability.json` was written before the packages were moved to where they are. A change that is meant stores it anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.support.places import ASSETS
from tinystyle.config import NetworkConfig, run_config
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.package import content_sha256
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.training.lineage import lineage_of

STORED = json.loads((ASSETS / "stability.json").read_text())
RUNS = (
    {"style": "paintings/wave.jpg", "photos": "s3://coco/datasets/coco", "perceptual": "vgg16", "precision": "32",
     "init_from": None},
    {
        "style": "x", "photos": "y", "architecture": "johnson", "alpha": 0.5, "perceptual": "efficientnet-lite0",
        "style_weight": 2, "style_size": 300, "tv_weight": 1, "size": 128, "batch_size": 8, "steps": 77, "seed": 3,
        "init_from": "m", "precision": "bf16",
    },
)  # fmt: skip


@pytest.mark.parametrize("index", range(len(RUNS)))
def test_a_run_key_is_what_it_was(index: int) -> None:
    config = run_config(RUNS[index])
    initial = "i" * 64 if config.initial_model else None
    assert lineage_of(config, "d" * 64, "s" * 64, "p" * 64, initial)["key"] == STORED["run_keys"][index]


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED["exports"])
def test_an_export_is_byte_for_byte_what_it_was(name: str, tmp_path: Path) -> None:
    config = NetworkConfig(architecture="small", alpha=0.1)
    network = build_network(config.architecture, config.alpha)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) * 0.3)
    model = LoadedModel(network, config, {"key": "0" * 16, "style_name": "mosaic"})
    format, _, bits = name.partition("-")
    out = tmp_path / f"x{bits}.{format}"
    export_model(model, format=format, bits=int(bits), size=(64, 48), out=out)
    assert content_sha256(out) == STORED["exports"][name]
