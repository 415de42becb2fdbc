import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle import __version__
from tinystyle.coreml import FORMATS
from tinystyle.coreml.convert import export_model
from tinystyle.model_file import LoadedModel, save_model

WIDTH, HEIGHT = 48, 32


def export(model: LoadedModel, folder: Path, format: str, bits: int) -> Path:
    return export_model(model, format=format, bits=bits, size=(WIDTH, HEIGHT), out=folder / f"{bits}.{format}").path


def read_spec(path: Path) -> Any:
    from coremltools.proto import Model_pb2

    file = path if path.is_file() else path / "Data" / "com.apple.CoreML" / "model.mlmodel"
    return Model_pb2.Model.FromString(file.read_bytes())


def run(path: Path, photo_b3hw: Tensor) -> Tensor:
    """The float32 neural network in `path`, layer by layer."""
    values = {"image": photo_b3hw}
    for layer in read_spec(path).neuralNetwork.layers:
        inputs, kind = [values[name] for name in layer.input], layer.WhichOneof("layer")
        part = getattr(layer, kind)
        if kind == "convolution":
            shape = (part.outputChannels, part.kernelChannels, *part.kernelSize)
            border = part.valid.paddingAmounts.borderAmounts
            padding = [(edge.startEdgeSize, edge.endEdgeSize) for edge in border]
            padded = F.pad(inputs[0], (*padding[1], *padding[0]))
            result = F.conv2d(padded, torch.tensor(part.weights.floatValue).reshape(shape), stride=tuple(part.stride))
        elif kind == "batchnorm":
            assert part.instanceNormalization
            assert part.computeMeanVar
            gamma, beta = torch.tensor(part.gamma.floatValue), torch.tensor(part.beta.floatValue)
            result = F.instance_norm(inputs[0], weight=gamma, bias=beta, eps=part.epsilon)
        elif kind == "activation":
            result = {"ReLU": torch.relu, "tanh": torch.tanh}[part.WhichOneof("NonlinearityType")](inputs[0])
        elif kind == "add":
            result = inputs[0] + (inputs[1] if len(inputs) == 2 else part.alpha)
        elif kind == "multiply":
            result = inputs[0] * part.alpha
        else:
            assert (kind, part.mode) == ("upsample", part.NN)
            result = F.interpolate(inputs[0], scale_factor=tuple(map(float, part.scalingFactor)))
        values[layer.output[0]] = result
    return values["stylized"]


def test_the_file_computes_what_the_network_does(model: LoadedModel, exported: Callable[[str, int], Path]) -> None:
    photo = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH)).float()
    with torch.inference_mode():
        expected = model.network(photo)
    assert expected.std() > 10
    assert (run(exported("mlmodel", 32), photo) - expected).abs().max() < 0.255


def test_layers_and_interface_of_the_neural_network(exported: Callable[[str, int], Path]) -> None:
    spec = read_spec(exported("mlmodel", 8))
    kinds = [layer.WhichOneof("layer") for layer in spec.neuralNetwork.layers]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    # 12 convolutions and norms, 8 ReLUs and tanh, 3 residual sums and tanh + 1, / 255 and * 127.5.
    assert counts == {"activation": 9, "add": 4, "batchnorm": 12, "convolution": 12, "multiply": 2, "upsample": 2}
    assert spec.specificationVersion == 4
    for feature, name in ((spec.description.input, "image"), (spec.description.output, "stylized")):
        assert [entry.name for entry in feature] == [name]
        image = feature[0].type.imageType
        assert (image.width, image.height, image.colorSpace) == (WIDTH, HEIGHT, image.RGB)
    (preprocessing,) = spec.neuralNetwork.preprocessing
    assert preprocessing.scaler.channelScale == 1
    assert preprocessing.scaler.redBias == preprocessing.scaler.greenBias == preprocessing.scaler.blueBias == 0
    names = [layer.name for layer in spec.neuralNetwork.layers]
    assert len(set(names)) == len(names)
    assert max(map(len, names[:-1])) <= 2


@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
def test_metadata(model: LoadedModel, exported: Callable[[str, int], Path], format: str) -> None:
    metadata = read_spec(exported(format, 8)).description.metadata
    assert metadata.shortDescription == ("tinystyle small 0.3: RGB image to stylised image, 48x32, 8-bit weights")
    assert metadata.author
    assert "Apache-2.0" in metadata.license
    assert metadata.versionString == __version__
    assert dict(metadata.userDefined) == {
        "lineage": json.dumps(dict(sorted(model.lineage.items())), separators=(",", ":"))
    }


def test_long_lineage_is_cut(model: LoadedModel, tmp_path: Path) -> None:
    long = LoadedModel(model.network, model.config, {f"entry {i}": f"{i}" * 100 for i in range(10, 22)})
    text = read_spec(export(long, tmp_path, "mlmodel", 8)).description.metadata.userDefined["lineage"]
    assert len(text) <= 450
    assert json.loads(text) == {key: value[:16] for key, value in long.lineage.items()}
    endless = LoadedModel(model.network, model.config, {str(i): "" for i in range(200)})
    with pytest.raises(ValueError, match=r"too many entries \(200\)"):
        export(endless, tmp_path, "mlmodel", 4)
    assert not (tmp_path / "4.mlmodel").exists()


@pytest.mark.parametrize(("bits", "most"), [(32, 50_000), (16, 26_500), (8, 15_600), (6, 12_700), (4, 9_800)])
def test_size_of_the_neural_network(model: LoadedModel, tmp_path: Path, bits: int, most: int) -> None:
    result = export_model(model, format="mlmodel", bits=bits, size=(640, 480), out=tmp_path / "a.mlmodel")
    assert result.bytes == result.path.stat().st_size <= most


def test_package_opens_in_coremltools_and_is_replaced_whole(model: LoadedModel, tmp_path: Path) -> None:
    from coremltools.libmodelpackage import ModelPackage

    path = export(model, tmp_path, "mlpackage", 16)
    (path / "stray").touch()
    result = export_model(model, format="mlpackage", bits=16, size=(16, 16), out=path)
    assert [file.name for file in tmp_path.iterdir()] == ["16.mlpackage"]
    assert not (path / "stray").exists()
    assert result.bytes == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert ModelPackage(str(path)).getRootModel().path().endswith("com.apple.CoreML/model.mlmodel")
    assert read_spec(path).description.input[0].type.imageType.width == 16


def test_what_fails_leaves_the_old_package(model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(model, tmp_path, "mlpackage", 32)
    before = read_spec(path)
    rename = Path.rename

    def full_disk(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(OSError, match="no space"):
        export_model(model, format="mlpackage", bits=32, size=(16, 16), out=path)
    assert read_spec(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["32.mlpackage"]


EXPORT = """
import sys
from collections.abc import Callable
from pathlib import Path
from tinystyle.coreml.convert import export_model
from tinystyle.model_file import load_model
model = load_model(sys.argv[1])
for name, bits in (("a.mlmodel", 8), ("b.mlpackage", 16), ("c.mlpackage", 8), ("d.mlpackage", 4)):
    export_model(model, format=name[2:], bits=bits, size=(16, 20), out=Path(sys.argv[2]) / name)
"""


@pytest.mark.slow
def test_bytes_are_the_same_in_every_process_and_nothing_is_printed(model: LoadedModel, tmp_path: Path) -> None:
    save_model(model.network, tmp_path / "m.safetensors", model.config, model.lineage)
    (tmp_path / "cwd").mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EXPORT, tmp_path / "m.safetensors", tmp_path / seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path / "cwd",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in ("1", "2")
    ]
    assert [(process.communicate()[0], process.returncode) for process in processes] == [("", 0), ("", 0)]
    contents = []
    for seed in ("1", "2"):
        files = sorted(file for file in (tmp_path / seed).rglob("*") if file.is_file())
        contents.append({str(file.relative_to(tmp_path / seed)): file.read_bytes() for file in files})
    assert len(contents[0]) == 1 + 3 * 3
    assert contents[0] == contents[1]
    assert not list((tmp_path / "cwd").iterdir())


@pytest.mark.parametrize(("format", "bits"), [("mlmodel", 5), ("mlpackage", 1), ("onnx", 8), ("", 32)])
def test_formats_that_do_not_exist_are_refused_with_those_that_do(
    model: LoadedModel, tmp_path: Path, format: str, bits: int
) -> None:
    with pytest.raises(ValueError, match=r"choose from: mlmodel with 32, 16, 8, 6, 4 bits; mlpackage with") as caught:
        export(model, tmp_path, format, bits)
    assert all(name in str(caught.value) for name in FORMATS)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((641, 480), "640x480"),
        ((642, 479), "644x480"),
        ((640, 8), "640x16"),
        ((0, -4), "16x16"),
        ((5000, 480), "4096x480"),
    ],
)
def test_sizes_that_are_not_possible_name_the_nearest(
    model: LoadedModel, tmp_path: Path, size: tuple[int, int], nearest: str
) -> None:
    with pytest.raises(ValueError, match=f"multiples of 4 .* the nearest is {nearest}$"):
        export_model(model, format="mlmodel", bits=8, size=size, out=tmp_path / "a.mlmodel")


def test_names_that_are_not_possible(model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "a.mlmodel").mkdir()
    (tmp_path / "b.mlpackage").mkdir()
    (tmp_path / "b.mlpackage" / "precious").touch()
    (tmp_path / "c.mlpackage").touch()
    for name, format, sentence in (
        ("x.mlpackage", "mlmodel", r"must end in \.mlmodel"),
        ("a.mlmodel", "mlmodel", "is a folder"),
        ("b.mlpackage", "mlpackage", "is no Core ML package"),
        ("c.mlpackage", "mlpackage", "is no Core ML package"),
    ):
        with pytest.raises(ValueError, match=sentence):
            export_model(model, format=format, bits=8, size=(16, 16), out=tmp_path / name)
    assert (tmp_path / "b.mlpackage" / "precious").exists()
    shutil.rmtree(tmp_path / "a.mlmodel")
