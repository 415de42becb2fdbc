import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.support.coreml import read_spec
from tests.support.photos import synthetic_photo
from tinystyle import __version__
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.coreml.exporter.convert import ExportResult, export_model
from tinystyle.coreml.exporter.metadata import MAX_METADATA_BYTES, describe
from tinystyle.coreml.package import content_sha256
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data.images import open_rgb
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.release.card import newest_preview, record_verification, remove_card, stylized_preview, write_card

REAL = {
    **{name: name[0] * 64 for name in ("dataset", "init_from", "perceptual", "recipe", "style")},
    "commit": "c" * 40 + "-dirty",
    "key": "k" * 16,
    "style_name": "starry_night",
    "training_revision": "1",
    "version": __version__,
}
HOSTILE = [
    {},
    {"a" * 5000: "b"},
    {"a": "b" * 5000},
    {str(i): "x" for i in range(500)},
    {"style_name": "\N{FISH CAKE WITH SWIRL DESIGN}" * 100, **{str(i): "é" * 64 for i in range(30)}},
    {"style_name": "a\n\n## Verification\n\nverified\x00", "x": "\n```\n## Verification\n\n|"},
]


@pytest.fixture(scope="module")
def result(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    out = tmp_path_factory.mktemp("card") / "a b.mlpackage"
    return export_model(model, format="mlpackage", bits=8, size=ImageSizes.parse("32x32..64x64"), out=out)


def with_lineage(model: LoadedModel, lineage: dict[str, str]) -> LoadedModel:
    return LoadedModel(model.network, model.config, lineage)


def metadata_of(model: LoadedModel) -> dict[str, str]:
    from coremltools.proto import Model_pb2

    description = Model_pb2.ModelDescription()
    description.input.add()
    description.output.add()
    metadata = description.metadata
    metadata.userDefined["com.github.apple.coremltools.conversion_date"] = "today"
    describe(description, model, "640x480, 8-bit weights")
    assert metadata.ByteSize() <= MAX_METADATA_BYTES == 430
    return {"shortDescription": metadata.shortDescription, **metadata.userDefined}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
def test_metadata_of_the_file(model: LoadedModel, exported: Callable[..., Path], format: str) -> None:
    path = exported(format, 8)
    assert read_spec(path).description.metadata.ByteSize() <= 450
    metadata = read_model(path).metadata
    assert metadata["shortDescription"] == "tinystyle small 0.3: stylizes an image, 48x32, 8-bit weights"
    assert metadata["author"]
    assert "Apache-2.0" in metadata["license"]
    assert metadata["versionString"] == __version__
    assert "image" in metadata["usage"]
    assert json.loads(metadata["lineage"]) == model.lineage


def test_metadata_of_a_real_lineage_keeps_every_entry(model: LoadedModel) -> None:
    metadata = metadata_of(with_lineage(model, REAL))
    assert metadata["shortDescription"].startswith("tinystyle starry_night, small 0.3: ")
    lineage = json.loads(metadata["lineage"])
    assert lineage.keys() == REAL.keys() - {"style_name"}
    assert all(len(lineage[key]) >= 8 and REAL[key].startswith(lineage[key]) for key in ("style", "dataset", "recipe"))


@pytest.mark.parametrize("lineage", HOSTILE)
def test_metadata_of_any_lineage_fits(model: LoadedModel, lineage: dict[str, str]) -> None:
    text = metadata_of(with_lineage(model, lineage))["lineage"]
    if len(lineage) > 20:
        assert text.startswith(f"{len(lineage)} entries, SHA-256 ")


@pytest.mark.slow
def test_card(model: LoadedModel, result: ExportResult) -> None:
    card = write_card(result, with_lineage(model, REAL), preview=Image.new("RGB", (8, 4)))
    text = card.read_text()
    assert card.name == "a b.mlpackage.md"
    picture = card.with_name("a b.mlpackage.png")
    assert open_rgb(picture.read_bytes(), "preview").size == (8, 4)
    assert "(a%20b.mlpackage.png)" in text
    for fact in (
        "starry_night, small 0.3", "| 8, linear per output channel |", f"| {result.bytes:,} |",
        f"| `{content_sha256(result.path)}` |", "| 32x32 to 64x64; by default 64x64 |", "| float16 |", "`image`",
        "`stylized`", "| iOS 16 and later |", "| 11,868 |", "multiply-accumulates at 64x64 | 53,", "not a multiple of 4",
        *(f'    "{key}": "{value}"' for key, value in REAL.items()), "Apache-2.0",
    ):  # fmt: skip
        assert fact in text
    last = text.split("\n## ")[-1]
    assert last.startswith("Verification\n")
    assert "Not verified yet: run `tinystyle verify " in last
    assert last.endswith("Not run on Apple hardware.\n")

    write_card(result, model, preview=None)
    assert "![" not in card.read_text()
    assert not picture.exists()


@pytest.mark.parametrize("lineage", HOSTILE)
def test_verification_is_recorded_and_nothing_else_changes(
    model: LoadedModel, result: ExportResult, lineage: dict[str, str]
) -> None:
    card = write_card(result, with_lineage(model, lineage), preview=None)
    unverified = card.read_text()
    assert unverified.count("\n## Verification\n") == 1
    head = unverified.split("\n## Verification\n")[0]
    for text in ("PSNR 45 dB.\n\n## Verification\n\nNot run on Apple hardware.", "Failed."):
        assert record_verification(result.path, text) == card
        assert card.read_text() == f"{head}\n## Verification\n\n{text}\n"
    assert write_card(result, with_lineage(model, lineage), preview=None, verification="Failed.") == card
    assert card.read_text() == f"{head}\n## Verification\n\nFailed.\n"


@pytest.mark.slow
def test_a_card_of_another_file_gets_no_verification(model: LoadedModel, tmp_path: Path) -> None:
    out = tmp_path / "a.mlmodel"
    assert record_verification(out, "Good.") is None
    card = write_card(export_model(model, format="mlmodel", bits=8, size=(48, 32), out=out), model, preview=None)
    before = card.read_text()
    out.write_bytes(out.read_bytes() + b"\0")
    assert record_verification(out, "Good.") is None
    assert card.read_text() == before
    remove_card(out)
    assert list(tmp_path.iterdir()) == [out]


def test_previews(model: LoadedModel, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    synthetic_photo(1, 1300, 650).save(photo)
    strip = stylized_preview(model, str(photo))
    assert strip.height >= 320
    assert strip.width > 2 * 640
    small = torch.tensor(list(strip.resize((2, 1)).convert("RGB").tobytes())).float()
    assert (small[:3] - small[3:]).abs().max() > 3

    assert newest_preview(str(tmp_path / "model.safetensors")) is None
    assert newest_preview("s3://bucket/model.safetensors") is None
    (tmp_path / "previews").mkdir()
    for step in (200, 1000):
        Image.new("RGB", (step, 2)).save(tmp_path / "previews" / f"step-{step:06}.png")
    (tmp_path / "previews" / "step-002000.png").write_bytes(b"half a pi")
    newest = newest_preview(str(tmp_path / "model.safetensors"))
    assert newest is not None
    assert newest.width == 1000


@pytest.mark.parametrize("name", ["nothing.png", "folder", "text.png"])
def test_a_preview_that_cannot_be_made(model: LoadedModel, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=name):
        stylized_preview(model, str(tmp_path / name))
