import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tinystyle.config import NetworkConfig
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    """`small` at alpha 0.3, untrained, with norms that do something and a lineage."""
    torch.manual_seed(0)
    config = NetworkConfig(architecture="small", alpha=0.3)
    network = build_network(config.architecture, config.alpha).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.InstanceNorm2d):
                module.weight += 0.3 * torch.randn_like(module.weight)
                module.bias += 0.3 * torch.randn_like(module.bias)
        # A channel of tiny range: instance norm makes it as large as any other.
        network.down[1].conv.weight[0] *= 1e-7
    return LoadedModel(network, config, {"photos": "a" * 64, "style": "b" * 64, "run": "c" * 16})


@pytest.fixture(scope="session")
def exported(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(format, bits, size="48x32", ios=16, compute=None) -> the model as such a file, not to be changed."""
    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def export(format: str, bits: int, size: str = "48x32", ios: int = 16, compute: str | None = None) -> Path:
        out = folder / f"{bits}-{size}-{ios}-{compute}.{format}"
        sizes = ImageSizes.parse(size)
        return export_model(model, format=format, bits=bits, size=sizes, out=out, ios=ios, compute=compute).path

    return export
