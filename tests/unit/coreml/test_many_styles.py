"""One Core ML file of many styles: its bytes, its second input, and that each style and mixture is the network's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from coremltools.proto import Model_pb2
from PIL import Image

from tests.support.models import untrained_styles
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.verification.verify import verify
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedStyles
from tinystyle.stylize.render import open_model

NAMES = (
    "starry_night",
    "great_wave",
    "poppy_field",
    "shipwreck",
    "composition_vii",
    "mosaic",
    "sky",
    "wave",
    "m2",
    "w2",
)


def styles(count: int = 3, alpha: float = 0.1) -> LoadedStyles:
    return untrained_styles(*NAMES[:count], alpha=alpha)


@pytest.fixture
def photos() -> list[tuple[str, Image.Image]]:
    random = np.random.default_rng(0)
    small = [random.integers(0, 255, (8, 12, 3), dtype=np.uint8) for _ in range(4)]
    return [(f"{index}.png", Image.fromarray(pixels).resize((96, 64))) for index, pixels in enumerate(small)]


@pytest.mark.parametrize("bits", [32, 16, 8])
def test_every_style_and_mixture_is_the_networks(
    tmp_path: Path, photos: list[tuple[str, Image.Image]], bits: int
) -> None:
    model, out = styles(), tmp_path / "three.mlmodel"
    export_model(model, format="mlmodel", bits=bits, size=(96, 64), out=out)
    proof = verify(out, model, photos, min_psnr=35)  # of noise, in networks that nobody has trained
    assert proof.passed, proof.sentence()
    assert len(proof.photos) == 4
    file = read_model(out)
    assert file.styles == model.names
    photo = torch.from_numpy(np.array(photos[0][1])).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        for text in ("great_wave", "great_wave=0.3,poppy_field=0.7"):
            expected = model.select(text).network(photo)
            difference = (file.choose(text).run(photo) - expected).abs().mean()
            assert difference < (0.01 if bits == 32 else 3), text
        one, other = (file.choose(name).run(photo) for name in model.names[:2])
    assert (one - other).abs().mean() > 3


def test_ten_styles_in_20_kilobytes_and_the_same_ones_again(tmp_path: Path) -> None:
    model = styles(10, alpha=0.3)
    for name in ("a.mlmodel", "b.mlmodel"):
        export_model(model, format="mlmodel", bits=8, size=(640, 480), out=tmp_path / name)
    written = (tmp_path / "a.mlmodel").read_bytes()
    assert written == (tmp_path / "b.mlmodel").read_bytes()
    assert len(written) <= 20 * 1024


@pytest.mark.parametrize("where", ["table", "trunk", "norm"])
def test_a_changed_weight_is_found(tmp_path: Path, photos: list[tuple[str, Image.Image]], where: str) -> None:
    model, out = styles(), tmp_path / "three.mlmodel"
    export_model(model, format="mlmodel", bits=8, size=(96, 64), out=out)
    spec = Model_pb2.Model.FromString(out.read_bytes())
    convolutions = [layer.convolution for layer in spec.neuralNetwork.layers if layer.HasField("convolution")]
    if where == "norm":
        norm = next(layer.batchnorm for layer in spec.neuralNetwork.layers if layer.HasField("batchnorm"))
        norm.beta.float16Value = np.full(len(norm.beta.float16Value) // 2, 1, "<f2").tobytes()
    else:
        weights = convolutions[0 if where == "table" else 3].weights
        changed = bytearray(weights.rawValue)
        changed[5] ^= 0xFF
        weights.rawValue = bytes(changed)
    out.write_bytes(spec.SerializeToString())
    assert not verify(out, model, photos).passed


def test_styles_in_another_order_are_not_the_network(tmp_path: Path, photos: list[tuple[str, Image.Image]]) -> None:
    model, out = styles(), tmp_path / "three.mlmodel"
    export_model(model, format="mlmodel", bits=8, size=(96, 64), out=out)
    spec = Model_pb2.Model.FromString(out.read_bytes())
    spec.description.metadata.userDefined["styles"] = ",".join((NAMES[1], NAMES[0], NAMES[2]))
    out.write_bytes(spec.SerializeToString())
    with pytest.raises(UserError, match="has the styles great_wave, starry_night, poppy_field"):
        verify(out, model, photos)


def test_a_file_of_many_styles_needs_a_choice(tmp_path: Path, photos: list[tuple[str, Image.Image]]) -> None:
    model, out = styles(), tmp_path / "three.mlmodel"
    export_model(model, format="mlmodel", bits=8, size=(96, 64), out=out)
    with pytest.raises(UserError, match="holds the styles starry_night, great_wave, poppy_field; choose one"):
        open_model(out)
    assert open_model(f"{out}#great_wave")
    with pytest.raises(UserError, match="of one; choose `style`"):
        verify(out, model.select("great_wave"), photos)
    with pytest.raises(UserError, match="takes one style; choose it with `style`"):
        export_model(model, format="mlpackage", bits=8, size=(96, 64), out=tmp_path / "three.mlpackage")
