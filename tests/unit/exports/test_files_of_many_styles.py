"""One file of many styles, in its vendor's runtime: each style and mixture is the network's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.assembled import untrained
from tests.support.models import untrained_styles
from tests.support.photos import synthetic_photo
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.exports.core_ai.saved_file import CoreAIFile
from tinystyle.exports.core_ai.saved_file import read as read_core_ai
from tinystyle.exports.export import export_model
from tinystyle.exports.onnx_file.saved_file import OnnxFile
from tinystyle.exports.onnx_file.saved_file import read as read_onnx
from tinystyle.exports.verify import verify

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("coreai", reason="the extra coreai is not installed")
PHOTOS = [(f"{index}.png", synthetic_photo(index)) for index in range(4)]


def read(path: Path) -> OnnxFile | CoreAIFile:
    return read_onnx(path) if path.suffix == ".onnx" else read_core_ai(path)


@pytest.mark.parametrize(
    ("format", "bits"), [("onnx", 32), ("onnx", 16), ("onnx", 8), ("aimodel", 32), ("aimodel", 8), ("aimodel", 6)]
)
def test_every_style_and_mixture_is_the_networks(tmp_path: Path, format: str, bits: int) -> None:
    model, out = untrained_styles("sea", "sky", "sun"), tmp_path / f"three.{format}"
    export_model(model, bits=bits, size=(64, 48), out=out)
    proof = verify(out, model, PHOTOS, min_psnr=35 if bits > 6 else 22)  # of noise, in networks that nobody has trained
    assert proof.passed, proof.sentence()
    file = read(out)
    assert file.styles == model.names
    photo = 255 * torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        for text in ("sky", "sky=0.3,sun=0.7"):
            expected = model.select(text).network(photo)
            assert (file.choose(text).run(photo) - expected).abs().mean() < (
                0.05 if bits == 32 else 3 if bits > 6 else 12
            ), text
    one, other = (file.choose(name).run(photo) for name in model.names[:2])
    assert (one - other).abs().mean() > 3
    with pytest.raises(UserError, match="holds the styles sea, sky, sun; choose one with `style`"):
        file.run(photo)


def test_any_size_in_a_range(tmp_path: Path) -> None:
    model, out = untrained_styles("sea", "sky"), tmp_path / "two.onnx"
    export_model(model, bits=16, size=ImageSizes.parse("32x32..128x128"), out=out)
    assert read(out).choose("sky").run(torch.zeros(1, 3, 50, 37)).shape == (1, 3, 50, 37)


def test_core_ai_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    model, programs = untrained_styles("sea", "sky"), set()
    for name in ("a", "b"):
        export_model(model, bits=8, size=(64, 48), out=tmp_path / f"{name}.aimodel")
        programs.add((tmp_path / f"{name}.aimodel" / "main.mlirb").read_bytes())
    assert len(programs) == 1


@pytest.mark.parametrize("format", ["onnx", "aimodel"])
def test_other_styles_than_the_networks(tmp_path: Path, format: str) -> None:
    two, three, out = untrained_styles("sea", "sky"), untrained_styles("sea", "sky", "sun"), tmp_path / f"two.{format}"
    export_model(two, bits=16, size=(64, 48), out=out)
    for model, theirs in ((three, "sea, sky, sun"), (untrained(1), "of one")):
        with pytest.raises(UserError, match=f"has the styles sea, sky, the trained network {theirs}; choose `style`"):
            verify(out, model, PHOTOS)
    export_model(untrained(1), bits=16, size=(64, 48), out=out)
    with pytest.raises(UserError, match="has the styles of one, the trained network sea, sky"):
        verify(out, two, PHOTOS)
    with pytest.raises(UserError, match="is a file of one style"):
        read(out).choose("sea")


def test_a_style_that_the_metadata_of_core_ai_do_not_name(tmp_path: Path) -> None:
    export_model(untrained_styles("sea", "sky"), bits=16, size=(64, 48), out=tmp_path / "two.aimodel")
    metadata = tmp_path / "two.aimodel" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"sea,sky"', '"sea"'))
    with pytest.raises(UserError, match="do not name the styles whose shares it takes"):
        read(tmp_path / "two.aimodel")


def test_a_style_that_the_metadata_of_onnx_do_not_name(tmp_path: Path) -> None:
    import onnx

    export_model(untrained_styles("sea", "sky"), bits=16, size=(64, 48), out=tmp_path / "two.onnx")
    model = onnx.load(str(tmp_path / "two.onnx"))
    (entry,) = (entry for entry in model.metadata_props if entry.key == "styles")
    entry.value = "sea"
    onnx.save(model, str(tmp_path / "one.onnx"))
    with pytest.raises(UserError, match="do not name the styles whose shares it takes"):
        read(tmp_path / "one.onnx")
