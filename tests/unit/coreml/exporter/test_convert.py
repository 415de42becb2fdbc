import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.coreml import operations_of, read_spec
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.quiet import quiet
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel

pytestmark = pytest.mark.slow  # every export takes a second

Export = Callable[..., Path]
WIDTH, HEIGHT = 48, 32


def export(model: LoadedModel, folder: Path, format: str, bits: int, **options: Any) -> Path:
    out = folder / f"{bits}.{format}"
    return export_model(model, format=format, bits=bits, out=out, **{"size": (WIDTH, HEIGHT), **options}).path


@pytest.mark.parametrize(
    ("format", "size", "tried"),
    [
        ("mlmodel", "48x32", [(48, 32)]),
        ("mlpackage", "48x32", [(48, 32)]),
        ("mlpackage", "32x48,48x32", [(32, 48), (48, 32)]),
        ("mlpackage", "20x20..64x64", [(20, 20), (64, 36), (48, 64), (21, 23), (33, 22), (63, 61)]),
    ],
)
def test_the_file_computes_what_the_network_does(
    model: LoadedModel, exported: Export, format: str, size: str, tried: list[tuple[int, int]]
) -> None:
    file = read_model(exported(format, 32, size))
    for width, height in tried:
        photo = torch.randint(0, 256, (1, 3, height, width)).float()
        with torch.inference_mode():
            expected = model.network(photo)
        assert expected.std() > 10
        assert file.run(photo).shape == photo.shape
        assert (file.run(photo) - expected).abs().max() < 0.255


def test_layers_and_interface_of_the_neural_network(exported: Export) -> None:
    spec = read_spec(exported("mlmodel", 8))
    counts = Counter(layer.WhichOneof("layer") for layer in spec.neuralNetwork.layers)
    # 12 convolutions and norms, 8 ReLUs and tanh, 3 residual sums and tanh + 1, / 255 and * 127.5; the margin, made by
    # reflection and cut off vertically and horizontally.
    assert counts == {
        "activation": 9, "add": 4, "batchnorm": 12, "convolution": 12, "multiply": 2, "padding": 1, "slice": 2, "upsample": 2
    }  # fmt: skip
    assert spec.specificationVersion == 4
    assert_interface(spec)
    (preprocessing,) = spec.neuralNetwork.preprocessing
    assert preprocessing.scaler.channelScale == 1
    assert preprocessing.scaler.redBias == preprocessing.scaler.greenBias == preprocessing.scaler.blueBias == 0
    names = [layer.name for layer in spec.neuralNetwork.layers]
    assert len(set(names)) == len(names)
    assert max(map(len, names[:-1])) <= 2


@pytest.mark.parametrize(("size", "field"), [("32x48,48x32", "enumeratedSizes"), ("32x32..64x64", "imageSizeRange")])
def test_the_output_is_declared_as_large_as_the_input(exported: Export, size: str, field: str) -> None:
    """What coremltools writes is 1x1, without bounds."""
    description = read_spec(exported("mlpackage", 32, size)).description
    assert description.output[0].type == description.input[0].type
    assert description.output[0].type.imageType.WhichOneof("SizeFlexibility") == field


@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
def test_o13_input_and_output_are_described(exported: Export, format: str) -> None:
    description = read_spec(exported(format, 8)).description
    assert description.input[0].shortDescription == "photo, sRGB"
    assert description.output[0].shortDescription == "stylized photo of its size, sRGB"


def assert_interface(spec: Any) -> None:
    for feature, name in ((spec.description.input, "image"), (spec.description.output, "stylized")):
        assert [entry.name for entry in feature] == [name]
        image = feature[0].type.imageType
        assert (image.width, image.height, image.colorSpace) == (WIDTH, HEIGHT, image.RGB)


@pytest.mark.parametrize(
    ("bits", "ios", "compute", "version", "dtype"),
    [(32, 16, None, 7, 11), (8, 16, None, 7, 10), (8, 16, "float32", 7, 11), (4, 18, None, 9, 10)],
)
def test_interface_and_precision_of_the_program(
    exported: Export, bits: int, ios: int, compute: str | None, version: int, dtype: int
) -> None:
    spec = read_spec(exported("mlpackage", bits, ios=ios, compute=compute))
    assert spec.specificationVersion == version
    assert_interface(spec)
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    float16, float32 = 10, 11
    computed = [op for op in block.operations if op.type not in ("cast", "const")]
    assert {op.outputs[0].type.tensorType.dataType for op in computed[:-1]} == {dtype}
    # The way out is float32, whatever the rest is in.
    assert block.operations[-1].outputs[0].name == "stylized"
    assert block.operations[-1].outputs[0].type.tensorType.dataType == float32
    assert (block.operations[-1].type == "cast") == (dtype == float16)


def test_names_and_constants_of_the_program_are_short(exported: Export) -> None:
    path = exported("mlpackage", 8)
    operations = operations_of(path)
    names = [op.outputs[0].name for op in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_@]{0,3}", name) for name in names[:-1])
    assert all(
        op.attributes["name"].immediateValue.tensor.strings.values[:] == [op.outputs[0].name] for op in operations
    )
    constants = [op.attributes["val"].SerializeToString(deterministic=True) for op in operations if op.type == "const"]
    assert len(set(constants)) == len(constants)
    known = {"image"}
    for op in operations:
        used = {binding.name for argument in op.inputs.values() for binding in argument.arguments}
        assert used <= known
        known.add(op.outputs[0].name)
    assert not read_spec(path).mlProgram.attributes


@pytest.mark.parametrize(("bits", "ios"), [(8, 16), (4, 16), (4, 18)])
def test_coremltools_reads_the_program_back(exported: Export, bits: int, ios: int) -> None:
    with quiet():
        import coremltools as ct
        from coremltools.converters.mil.frontend.milproto.load import load

        file = ct.models.MLModel(str(exported("mlpackage", bits, ios=ios)), skip_model_load=True)
        spec = file.get_spec()
        program = load(spec, spec.specificationVersion, file.weights_dir)
    convolutions = program.functions["main"].find_ops(op_type="conv")
    assert len(convolutions) == 12
    assert all(conv.weight.op.op_type.startswith("constexpr_") for conv in convolutions)


@pytest.mark.parametrize(
    ("format", "bits", "ios", "most"),
    [
        ("mlmodel", 32, 16, 50_050),
        ("mlmodel", 16, 16, 26_550),
        ("mlmodel", 8, 16, 15_650),
        ("mlmodel", 6, 16, 12_750),
        ("mlmodel", 4, 16, 9_850),
        ("mlpackage", 16, 16, 39_050),
        ("mlpackage", 8, 16, 29_550),
        ("mlpackage", 6, 16, 28_250),
        ("mlpackage", 4, 16, 24_550),
        ("mlpackage", 4, 18, 23_550),
    ],
)
def test_bytes(model: LoadedModel, tmp_path: Path, format: str, bits: int, ios: int, most: int) -> None:
    # With as much lineage as metadata takes.
    full = LoadedModel(model.network, model.config, {f"entry {i}": f"{i:064}" for i in range(8)})
    out = tmp_path / f"a.{format}"
    result = export_model(full, format=format, bits=bits, size=(640, 480), out=out, ios=ios)
    files = [out] if out.is_file() else [file for file in out.rglob("*") if file.is_file()]
    assert result.bytes == sum(file.stat().st_size for file in files) <= most


def test_what_was_exported_is_said(model: LoadedModel, tmp_path: Path) -> None:
    result = export_model(model, format="mlmodel", bits=8, size=(48, 32), out=tmp_path / "a.mlmodel")
    assert (result.size, result.sizes, result.compute) == ((48, 32), ImageSizes.parse("48x32"), None)
    assert result.minimum_ios == read_model(result.path).minimum_ios == 13
    sizes = ImageSizes.parse("32x32..64x64")
    result = export_model(model, format="mlpackage", bits=4, size=sizes, out=tmp_path / "a.mlpackage", ios=18)
    assert (result.size, result.sizes, result.compute) == ((64, 64), sizes, "float16")
    assert result.minimum_ios == read_model(result.path).minimum_ios == 18


def test_package_opens_in_coremltools_and_is_replaced_whole(model: LoadedModel, tmp_path: Path) -> None:
    from coremltools.libmodelpackage import ModelPackage

    path = export(model, tmp_path, "mlpackage", 16)
    (path / "stray").touch()
    export(model, tmp_path, "mlpackage", 16, size=(20, 20))
    assert [file.name for file in tmp_path.iterdir()] == ["16.mlpackage"]
    assert not (path / "stray").exists()
    assert ModelPackage(str(path)).getRootModel().path().endswith("com.apple.CoreML/model.mlmodel")
    assert read_spec(path).description.input[0].type.imageType.width == 20


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
        export(model, tmp_path, "mlpackage", 32, size=(20, 20))
    assert read_spec(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["32.mlpackage"]


@pytest.mark.parametrize(
    ("format", "bits", "ios", "given"),
    [
        ("mlmodel", 5, 16, "^`bits` 5: give 32, 16, 8, 6 or 4$"),
        ("mlpackage", 1, 16, "^`bits` 1: give 32, 16, 8, 6 or 4$"),
        ("onnx", 8, 16, "^`format` onnx: give mlmodel or mlpackage$"),
        ("", 32, 16, "^`format` : give mlmodel or mlpackage$"),
        ("mlmodel", 4, 18, "^`ios` 18 is for an mlpackage of 4 bits; give 16"),
        ("mlpackage", 8, 18, "^`ios` 18 is for an mlpackage of 4 bits; give 16"),
    ],
)
def test_formats_that_do_not_exist_are_refused_with_those_that_do(
    model: LoadedModel, tmp_path: Path, format: str, bits: int, ios: int, given: str
) -> None:
    with pytest.raises(UserError, match=given):
        export(model, tmp_path, format, bits, ios=ios)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("format", "bits", "compute", "sentence"),
    [
        ("mlmodel", 8, "float32", "leaves precision to the device"),
        ("mlpackage", 32, "float16", "32 bits computes in float32"),
        ("mlpackage", 8, "bfloat16", "choose float16 or float32"),
    ],
)
def test_precisions_that_are_not_possible(
    model: LoadedModel, tmp_path: Path, format: str, bits: int, compute: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        export(model, tmp_path, format, bits, compute=compute)


def test_weights_beyond_float16_are_refused_where_they_would_become_infinite(
    model: LoadedModel, tmp_path: Path
) -> None:
    norm = model.network.out.norm
    before = norm.weight[0].item()
    try:
        with torch.no_grad():
            norm.weight[0] = 7e4
        for format, bits in (("mlpackage", 8), ("mlmodel", 16)):
            with pytest.raises(UserError, match=r"out\.norm\.weight .*7e\+04"):
                export(model, tmp_path, format, bits)
        assert export(model, tmp_path, "mlpackage", 8, compute="float32").is_dir()
    finally:
        with torch.no_grad():
            norm.weight[0] = before


def test_names_that_are_not_possible(model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "a.mlmodel").mkdir()
    (tmp_path / "b.mlpackage").mkdir()
    (tmp_path / "b.mlpackage" / "precious").touch()
    (tmp_path / "c.mlpackage").touch()
    for name, format, sentence in (
        ("x.mlpackage", "mlmodel", r"must end in \.mlmodel"),
        ("a.mlmodel", "mlmodel", "is a folder"),
        ("b.mlpackage", "mlpackage", "is not a Core ML package"),
        ("c.mlpackage", "mlpackage", "is not a Core ML package"),
    ):
        with pytest.raises(UserError, match=sentence):
            export_model(model, format=format, bits=8, size=(20, 20), out=tmp_path / name)
    assert (tmp_path / "b.mlpackage" / "precious").exists()
    shutil.rmtree(tmp_path / "a.mlmodel")
