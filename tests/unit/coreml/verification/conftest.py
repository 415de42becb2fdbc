"""The judge of mutilated files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.support.mutilations import Mutilation
from tests.support.photos import synthetic_photo
from tinystyle.coreml.verification.verify import verify
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel

BASES = {
    "mlmodel-32": ("mlmodel", 32, "48x32", 16),
    "mlmodel-8": ("mlmodel", 8, "48x32", 16),
    "mlmodel-4": ("mlmodel", 4, "48x32", 16),
    "mlpackage-16": ("mlpackage", 16, "48x32", 16),
    "mlpackage-8": ("mlpackage", 8, "48x32", 16),
    "mlpackage-6": ("mlpackage", 6, "48x32", 16),
    "mlpackage-int4": ("mlpackage", 4, "48x32", 18),
    "enumerated": ("mlpackage", 16, "48x32,32x48", 16),
    "ranged": ("mlpackage", 16, "24x24..64x48", 16),
}
"""Name -> format, bits, sizes and iOS of a file that is whole."""


@pytest.fixture(scope="module")
def gray_photo() -> Image.Image:
    """A photo without colors, on which exchanged channels do not show."""
    return synthetic_photo(1).convert("L").convert("RGB")


@pytest.fixture
def judge(
    model: LoadedModel, exported: Callable[..., Path], gray_photo: Image.Image, tmp_path: Path
) -> Callable[[str, Mutilation, str | None], None]:
    """(base, mutilation, what is to be said or None if it is verified): mutilate a copy of a file, and verify it."""

    def run(base: str, mutilation: Mutilation, expected: str | None) -> None:
        format, bits, size, ios = BASES[base]
        copy = tmp_path / f"style.{format}"
        original = exported(format, bits, size, ios=ios)
        (shutil.copytree if original.is_dir() else shutil.copyfile)(original, copy)
        path = mutilation(copy) or copy
        try:
            failure = verify(path, model, [("gray", gray_photo)], min_psnr=5).failure
        except UserError as error:
            failure = str(error)
        if expected is None:
            assert failure is None
        else:
            assert failure is not None
            assert re.search(expected, failure), failure

    return run
