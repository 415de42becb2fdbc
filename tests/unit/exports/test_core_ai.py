"""Core AI files: what is written, and what verification finds in files that were changed. Apple's runtime executes them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.coreml import untrained_model
from tests.support.places import REPOSITORY
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.exports.core_ai.saved_file import read
from tinystyle.exports.export import export_model
from tinystyle.exports.verify import verify
from tinystyle.model_file import LoadedModel

pytest.importorskip("coreai_torch")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
Exported = Callable[..., Path]
Photos = list[tuple[str, Image.Image]]


@pytest.mark.parametrize(
    ("bits", "lowest", "bytes"), [(32, 105, 60500), (16, 50, 37500), (8, 35, 28500), (6, 10, 26500)]
)
def test_a_file_is_verified_by_apples_runtime(
    exported: Exported, model: LoadedModel, photos: Photos, bits: int, lowest: float, bytes: int
) -> None:
    path = exported("aimodel", bits)
    result = verify(path, model, photos[:1], min_psnr=lowest)
    assert result.failure is None
    assert (result.format, result.bits, result.weights) == ("aimodel", bits, 11868)
    assert "Run by Apple's Core AI runtime" in result.paragraph()
    assert sum(file.stat().st_size for file in path.iterdir()) < bytes


def test_the_same_model_gives_the_same_bytes(exported: Exported, model: LoadedModel, tmp_path: Path) -> None:
    again = export_model(model, bits=32, size=(48, 32), out=tmp_path / "again.aimodel").path
    for name in ("main.mlirb", "main.hash", "metadata.json"):
        assert (again / name).read_bytes() == (exported("aimodel", 32) / name).read_bytes(), name
    # Names that the converter draws anew, or derives from a seed of the process, would differ in the next one.
    program = (again / "main.mlirb").read_bytes()
    assert not re.search(rb"resource_\d{5}|instance_norm_[a-z]{4}", program)


def test_a_file_says_what_it_is_and_nothing_of_the_machine(exported: Exported) -> None:
    path = exported("aimodel", 32)
    assert sorted(file.name for file in path.iterdir()) == ["main.hash", "main.mlirb", "metadata.json"]
    metadata = json.loads((path / "metadata.json").read_text())
    assert "creationDate" not in metadata
    assert metadata["creatorDefinedMetadata"]["lineage"].startswith('{"photos":"aaaaaaaaaaaaaaaa"')
    program = (path / "main.mlirb").read_bytes()
    for place in (str(REPOSITORY), sys.prefix, str(Path.home()), "site-packages", "blocks.py", ".py"):
        assert place.encode() not in program, place


def change_weight(path: Path) -> None:
    program = (path / "main.mlirb").read_bytes()
    weight = untrained_model().network.get_parameter("residual.1.first.conv.weight").detach().numpy()
    assert program.count(weight.tobytes()) == 1, "weights are stored as they are"
    changed = weight.copy()
    changed[3, 2, 1, 1] *= np.float32(1.001)
    program = program.replace(weight.tobytes(), changed.tobytes())
    (path / "main.mlirb").write_bytes(program)
    (path / "main.hash").write_bytes(hashlib.sha256(program).digest())


def wrong_hash(path: Path) -> None:
    (path / "main.hash").write_bytes(b"\0" * 32)


def cut(path: Path) -> None:
    program = (path / "main.mlirb").read_bytes()
    (path / "main.mlirb").write_bytes(program[: len(program) // 2])


def no_program(path: Path) -> None:
    (path / "main.mlirb").unlink()


def no_json(path: Path) -> None:
    (path / "metadata.json").write_text("{")


def another_run(path: Path) -> None:
    said = json.loads((path / "metadata.json").read_text())
    said["creatorDefinedMetadata"]["lineage"] = '{"style":"ffff"}'
    (path / "metadata.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("change", "words"),
    [(change_weight, r"residual.1.first.conv.weight\[3, 2, 1, 1\]: it holds"), (wrong_hash, "is not the SHA-256"),
     (cut, "damaged"), (no_program, "not a whole one"), (no_json, "damaged"), (another_run, "made from style ffff")],
)  # fmt: skip
def test_a_changed_file_is_not_verified(
    exported: Exported, model: LoadedModel, gray: Photos, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "changed.aimodel"
    shutil.copytree(exported("aimodel", 32), path)
    change(path)
    try:
        failure = verify(path, model, gray, min_psnr=5).failure
    except UserError as error:
        failure = str(error)
    assert failure is not None
    assert re.search(words, failure), failure
    assert "\n" not in failure


def test_another_networks_file_is_not_verified(exported: Exported, gray: Photos, model: LoadedModel) -> None:
    file = read(exported("aimodel", 16))
    assert (file.sizes, file.compute, file.bits) == (ImageSizes.fixed(48, 32), "float16", 16)
    other = LoadedModel(type(model.network)((9, 9, 9), 3).eval(), model.config, model.lineage)
    assert "it holds" in str(verify(file.path, other, gray).failure)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": ImageSizes.parse("48x32,32x48")}, "images of one size"),
        ({"bits": 5}, "an .aimodel has 32, 16, 8, 6 or 4"),
    ],
)
def test_what_is_not_possible_is_said(
    model: LoadedModel, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        export_model(model, **{"size": (48, 32), "bits": 8, **options}, out=tmp_path / "a.aimodel")
    assert not list(tmp_path.iterdir())
