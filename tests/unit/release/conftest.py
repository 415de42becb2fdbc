from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.coreml import exporter, untrained_model
from tinystyle.model_file import LoadedModel


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    """An untrained network, not to be changed."""
    return untrained_model()


@pytest.fixture(scope="session")
def exported(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(format, bits, size="48x32", ios=16, compute=None) -> the model as such a file, not to be changed."""
    return exporter(model, tmp_path_factory.mktemp("exported"))
