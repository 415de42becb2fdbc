from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.coreml import untrained_model
from tests.support.photos import synthetic_photo
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.exports.export import export_model
from tinystyle.model_file import LoadedModel


@pytest.fixture(scope="session")
def model() -> LoadedModel:
    """An untrained network, not to be changed."""
    return untrained_model()


@pytest.fixture(scope="session")
def exported(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(format, bits, size="48x32", compute=None) -> the model as such a file, not to be changed."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def export(format: str, bits: int, size: str = "48x32", compute: str | None = None) -> Path:
        out = folder / f"{bits}-{size}-{compute}.{format}"
        return export_model(model, bits=bits, size=ImageSizes.parse(size), compute=compute, out=out).path

    return export


@pytest.fixture(scope="session")
def photos() -> list[tuple[str, Image.Image]]:
    """Two photos of different shapes."""
    return [(str(number), synthetic_photo(number, 64 + 16 * number, 48)) for number in (1, 2)]


@pytest.fixture(scope="session")
def gray() -> list[tuple[str, Image.Image]]:
    """A photo without colors, on which exchanged channels do not show."""
    return [("gray", Image.fromarray(np.array(synthetic_photo(1).convert("L"))).convert("RGB"))]
