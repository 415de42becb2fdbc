import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.photos import synthetic_photo
from tinystyle.coreml import FORMATS
from tinystyle.coreml.evaluator.model import StoredWeight, read_model
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.verification.verify import MIN_PSNR, Verification, verify
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, load_model
from tinystyle.nets.blocks import StyleNetwork

pytestmark = pytest.mark.slow  # every export takes a second

PLACES = 40
PAIRS = [(format, bits) for format, choices in FORMATS.items() for bits in choices]

Photos = list[tuple[str, Image.Image]]


@pytest.fixture(scope="module")
def photos() -> Photos:
    return [(f"photo-{seed}", synthetic_photo(seed)) for seed in range(2)]


@pytest.mark.parametrize(("format", "bits"), PAIRS)
def test_what_was_exported_is_verified(micro_run: Path, tmp_path: Path, photos: Photos, format: str, bits: int) -> None:
    trained = load_model(micro_run / "model.safetensors")
    path = export_model(trained, format=format, bits=bits, size=(48, 32), out=tmp_path / f"a.{format}").path
    seen: list[int] = []
    # A network of three filters, trained for seconds, falls just short of what 6 bits are asked for.
    asked = 30.0 if bits == 6 else None
    result = verify(path, trained, photos, min_psnr=asked, progress=seen.append)
    assert result.failure is None
    weights = sum(parameter.numel() for parameter in trained.network.parameters())
    assert (result.format, result.bits, result.weights, result.fold) == (format, bits, weights, "nothing")
    assert [photo.name for photo in result.photos] == ["photo-0", "photo-1"]
    assert seen == [1, 2]
    gate = asked or MIN_PSNR[bits]
    assert result.gate == gate
    assert result.worst
    assert {32: 100, 16: 50, 8: 40, 6: 30, 4: 20}[bits] < result.worst <= 200
    sentence = f"minimum {gate:g} dB" if gate else "no PSNR is required of 4 bits"
    assert sentence in result.sentence()
    assert result.as_dict()["passed"]


def patches(path: Path) -> dict[str, list[tuple[Path, int, int]]]:
    """What of its weights the file holds: part -> (file, first byte, length). Found by content."""
    data = path / "Data" / "com.apple.CoreML"
    files = [path] if path.is_file() else [data / "weights" / "weight.bin", data / "model.mlmodel"]
    found: dict[str, list[tuple[Path, int, int]]] = {}
    for file, content in [(file, file.read_bytes()) for file in files]:
        for weight in read_model(path).weights:
            for part, stored in parts(weight, path.suffix):
                if len(stored) >= 8 and content.count(stored) == 1:
                    found.setdefault(part, []).append((file, content.index(stored), len(stored)))
    return found


def parts(weight: StoredWeight, suffix: str) -> Iterator[tuple[str, bytes]]:
    if weight.encoding in ("float32", "float16"):
        yield weight.encoding, np.ascontiguousarray(weight.values).tobytes()
        return
    order = "big" if suffix == ".mlmodel" else "little"
    yield "indices", pack(weight.indices, weight.bits, order)
    if weight.encoding == "palette":
        yield "palette", weight.palette.tobytes()
        return
    yield "scale", weight.scale.tobytes()
    if weight.zero_point is not None:
        yield "zero point", weight.zero_point.astype(np.int8).tobytes()
    else:
        yield "offset", weight.offset.astype(np.float32).tobytes()


def pack(indices: Any, bits: int, order: Any) -> bytes:
    rows = np.unpackbits(indices.ravel().astype(np.int8).view(np.uint8)[:, None], axis=1, bitorder=order)
    return np.packbits(rows[:, -bits:] if order == "big" else rows[:, :bits], bitorder=order).tobytes()


@pytest.fixture
def corrupt(model: LoadedModel, tmp_path: Path) -> Callable[[Path, str, Callable[[int], int]], list[Verification]]:
    """Changes PLACES random bytes of a part of a file's weights, one after the other, and verifies each time."""

    def run(path: Path, part: str, change: Callable[[int], int]) -> list[Verification]:
        copy = tmp_path / path.name
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copy)
        places = [(file, start + i) for file, start, length in patches(copy)[part] for i in range(length)]
        results = []
        for file, position in random.Random(part).sample(places, min(PLACES, len(places))):
            whole = file.read_bytes()
            file.write_bytes(whole[:position] + bytes([change(whole[position])]) + whole[position + 1 :])
            results.append(verify(copy, model, []))
            file.write_bytes(whole)
        return results

    return run


ENCODED = [
    *(("mlmodel", bits, part) for bits in (8, 6, 4) for part in ("indices", "scale", "offset")),
    *(("mlpackage", 8, part) for part in ("indices", "scale", "zero point")),
    *(("mlpackage", bits, part) for bits in (6, 4) for part in ("indices", "palette")),
    *((format, bits, f"float{bits}") for format in ("mlmodel", "mlpackage") for bits in (32, 16)),
]


@pytest.mark.parametrize(("format", "bits", "part"), ENCODED)
def test_an_inverted_byte_of_a_weight_fails(
    exported: Callable[[str, int], Path], corrupt: Any, format: str, bits: int, part: str
) -> None:
    for result in corrupt(exported(format, bits), part, lambda byte: byte ^ 0xFF):
        assert not result.passed
        assert "trained as" in result.sentence()


@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
def test_any_changed_bit_of_a_float32_weight_fails(
    exported: Callable[[str, int], Path], corrupt: Any, format: str
) -> None:
    source = random.Random(0)
    for result in corrupt(exported(format, 32), "float32", lambda byte: byte ^ (1 << source.randrange(8))):
        assert not result.passed


def test_another_network_fails_with_the_first_tensor_and_index(
    model: LoadedModel, exported: Callable[[str, int], Path], photos: Photos
) -> None:
    other = StyleNetwork((9, 9, 9), residual_blocks=3).eval()
    other.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        other.residual[1].first.conv.weight[2, 3, 1, 0] += 0.1
    result = verify(exported("mlmodel", 32), LoadedModel(other, model.config, {}), photos)
    assert "residual.1.first.conv.weight[2, 3, 1, 0]: it holds" in result.sentence()
    assert result.photos == ()
    bigger = StyleNetwork((9, 9, 9), residual_blocks=4).eval()
    result = verify(exported("mlmodel", 32), LoadedModel(bigger, model.config, {}), photos)
    assert not result.passed
    wider = StyleNetwork((10, 10, 10), residual_blocks=3).eval()
    result = verify(exported("mlmodel", 32), LoadedModel(wider, model.config, {}), photos)
    assert "it has shape (9, 3, 9, 9), trained is (10, 3, 9, 9)" in result.sentence()


def test_c9b_a_file_of_another_run_is_called_that_with_plain_numbers(
    model: LoadedModel, tmp_path: Path, photos: Photos
) -> None:
    here, there = (LoadedModel(model.network, model.config, {"key": 16 * digit}) for digit in "ab")
    path = export_model(there, format="mlmodel", bits=32, size=(48, 32), out=tmp_path / "a.mlmodel").path
    assert verify(path, here, photos).failure == f"it was made from run {'b' * 16}, not {'a' * 16}"
    network = StyleNetwork((9, 9, 9), residual_blocks=3).eval()
    failure = verify(path, LoadedModel(network, model.config, here.lineage), photos).failure
    assert failure is not None
    assert failure.startswith(f"it was made from run {'b' * 16}, not {'a' * 16}: weight of convolution ")
    assert "np." not in failure


def test_a_photo_under_the_gate_fails(model: LoadedModel, exported: Callable[[str, int], Path], photos: Photos) -> None:
    result = verify(exported("mlmodel", 4), model, photos, min_psnr=90)
    assert result.failure
    assert "photo-0 has" in result.failure
    assert "the minimum is 90" in result.failure


def test_an_overflow_in_float16_fails_and_names_the_operation(
    model: LoadedModel, tmp_path: Path, photos: Photos
) -> None:
    network = StyleNetwork((9, 9, 9), residual_blocks=3).eval()
    network.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        network.residual[0].second.norm.weight.fill_(1e5)
    loud = LoadedModel(network, model.config, {})
    path = export_model(loud, format="mlmodel", bits=32, size=(48, 32), out=tmp_path / "loud.mlmodel").path
    result = verify(path, loud, photos)
    assert result.failure
    assert "gives NaN or infinity in float16" in result.failure
    assert "batchnorm '" in result.failure


def test_a_folded_constant_is_seen_and_stated(
    model: LoadedModel, exported: Callable[[str, int], Path], tmp_path: Path, photos: Photos
) -> None:
    """The division by 255 taken out of the file, and into the first convolution."""
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model.FromString(exported("mlmodel", 32).read_bytes())
    divide, extend, convolve = spec.neuralNetwork.layers[:3]
    assert divide.multiply.alpha == pytest.approx(1 / 255)
    weights = convolve.convolution.weights
    folded = np.array(weights.floatValue, np.float32) * np.float32(1 / 255)
    weights.floatValue[:] = folded.tolist()
    extend.input[0] = divide.input[0]
    del spec.neuralNetwork.layers[0]
    path = tmp_path / "folded.mlmodel"
    path.write_bytes(spec.SerializeToString())
    result = verify(path, model, photos)
    assert result.failure is None
    assert result.fold == "the division by 255, into down.0.conv.weight"


def test_without_photos_nothing_is_proven(model: LoadedModel, exported: Callable[[str, int], Path]) -> None:
    with pytest.raises(UserError, match="no photo"):
        verify(exported("mlmodel", 8), model, [])
