import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tinystyle.config import NetworkConfig
from tinystyle.coreml.convert import export_model
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    """`small` at alpha 0.3, untrained, with norms that do something and a lineage."""
    torch.manual_seed(0)
    config = NetworkConfig(architecture="small", alpha=0.3)
    network = build_network(config).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.InstanceNorm2d):
                module.weight += 0.3 * torch.randn_like(module.weight)
                module.bias += 0.3 * torch.randn_like(module.bias)
        # A channel of tiny range: instance norm makes it as large as any other.
        network.down[1].conv.weight[0] *= 1e-7
    return LoadedModel(network, config, {"photos": "a" * 64, "style": "b" * 64, "run": "c" * 16})


@pytest.fixture(scope="session")
def exported(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """(format, bits) -> the model at 48x32 as such a file, not to be changed."""
    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def export(format: str, bits: int) -> Path:
        return export_model(model, format=format, bits=bits, size=(48, 32), out=folder / f"{bits}.{format}").path

    return export
