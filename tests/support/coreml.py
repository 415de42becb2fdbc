"""A network to export, and Core ML files as their format's own messages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tinystyle.config import NetworkConfig
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network

__all__ = ["exporter", "operations_of", "read_spec", "untrained_model"]


def untrained_model() -> LoadedModel:
    """`small` at alpha 0.3, untrained, with norms that do something and a lineage."""
    torch.manual_seed(0)
    config = NetworkConfig(architecture="small", alpha=0.3)
    network = build_network(config.architecture, config.alpha).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.InstanceNorm2d):
                module.weight.add_(0.3 * torch.randn_like(module.weight))
                module.bias.add_(0.3 * torch.randn_like(module.bias))
        # A channel of tiny range: instance norm makes it as large as any other.
        network.get_parameter("down.1.conv.weight")[0].mul_(1e-7)
    return LoadedModel(network, config, {"photos": "a" * 64, "style": "b" * 64, "run": "c" * 16})


def exporter(model: LoadedModel, folder: Path) -> Callable[..., Path]:
    """(format, bits, size="48x32", ios=16, compute=None) -> the model as such a file in `folder`, made once."""

    @functools.cache
    def export(format: str, bits: int, size: str = "48x32", ios: int = 16, compute: str | None = None) -> Path:
        out = folder / f"{bits}-{size}-{ios}-{compute}.{format}"
        sizes = ImageSizes.parse(size)
        return export_model(model, format=format, bits=bits, size=sizes, out=out, ios=ios, compute=compute).path

    return export


def read_spec(path: Path) -> Any:
    """The Model message of a file or a package."""
    from coremltools.proto import Model_pb2

    file = path if path.is_file() else path / "Data" / "com.apple.CoreML" / "model.mlmodel"
    return Model_pb2.Model.FromString(file.read_bytes())


def operations_of(path: Path) -> list[Any]:
    """The operations of a package's program, in their order."""
    (block,) = read_spec(path).mlProgram.functions["main"].block_specializations.values()
    return list(block.operations)
