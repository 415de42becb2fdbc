import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tinystyle.config import NetworkConfig
from tinystyle.coreml.evaluator.model import CoreMLModel, NotFiniteError, UnknownOperationError, read_model
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork

pytestmark = pytest.mark.slow  # every export takes a second

CLOSE = 0.255  # gray levels


def noise(width: int, height: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (1, 3, height, width), generator=torch.Generator().manual_seed(seed)).float()


@contextmanager
def leaving_folders() -> Iterator[None]:
    """coremltools' models leave temporary folders to the garbage collector, which warns of it: have it come now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def as_images(spec: Any, width: int, height: int) -> None:
    """Declare the arrays that a builder made images."""
    for feature in (*spec.description.input, *spec.description.output):
        image = feature.type.imageType
        image.width, image.height, image.colorSpace = width, height, image.RGB


@pytest.mark.parametrize("size", [(48, 32), (64, 80)])
@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
@pytest.mark.parametrize(("architecture", "alpha"), [("johnson", 1.0), ("small", 0.3)])
def test_float32_files_compute_what_torch_does(
    tmp_path: Path, architecture: str, alpha: float, format: str, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(architecture=architecture, alpha=alpha)
    model = LoadedModel(build_network(config.architecture, config.alpha).eval(), config, {})
    path = export_model(model, format=format, bits=32, size=size, out=tmp_path / f"a.{format}").path
    photo = noise(*size)
    with torch.inference_mode():
        expected = model.network(photo)
    assert expected.std() > 10
    assert (read_model(path).run(photo) - expected).abs().max() < CLOSE


@pytest.mark.parametrize("bits", [16, 8, 6, 4])
@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
def test_compressed_files_compute_what_their_decoded_weights_say(tmp_path: Path, format: str, bits: int) -> None:
    """The network with the decoded weights put back into it, in torch."""
    torch.manual_seed(0)
    config = NetworkConfig(architecture="small", alpha=0.3)
    model = LoadedModel(build_network(config.architecture, config.alpha).eval(), config, {})
    read = read_model(export_model(model, format=format, bits=bits, size=(48, 32), out=tmp_path / f"a.{format}").path)
    assert (read.bits, read.format, read.sizes.default) == (bits, format, (48, 32))
    network = build_network(model.config.architecture, model.config.alpha).eval()
    names = {"weight": "conv.weight", "gamma": "norm.weight", "beta": "norm.bias"}
    stored = [torch.from_numpy(weight.values.astype(np.float32)) for weight in read.weights]
    parameters = list(network.named_parameters())
    assert all(name.endswith(names[w.parameter]) for (name, _), w in zip(parameters, read.weights, strict=True))
    with torch.inference_mode():
        for (_, parameter), values in zip(parameters, stored, strict=True):
            parameter.copy_(values)
        expected = network(noise(48, 32))
    error = (read.run(noise(48, 32)) - expected).abs()
    # An .mlpackage rounds every result to float16.
    assert error.max() < CLOSE if format == "mlmodel" else error.mean() < 0.25


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_program_weights_decode_as_coremltools_decodes_them(exported: Callable[[str, int], Path], bits: int) -> None:
    import coremltools as ct
    from coremltools.optimize.coreml import decompress_weights

    path = exported("mlpackage", bits)
    with leaving_folders():
        plain = decompress_weights(ct.models.MLModel(str(path), skip_model_load=True))
        theirs = [conv.weight.val for conv in plain._mil_program.functions["main"].find_ops(op_type="conv")]
        del plain
    ours = [weight for weight in read_model(path).weights if weight.kind == "conv"]
    for weight, decoded in zip(ours, theirs, strict=True):
        assert weight.encoding in ("linear", "palette")
        np.testing.assert_array_equal(weight.values, decoded)


def test_a_neural_network_of_other_names_and_order(tmp_path: Path) -> None:
    """Upsampling first, then scale, a strided convolution with bias, instance norm, leaky ReLU and an addition."""
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("camera", datatypes.Array(3, 2, 2))], [("picture", datatypes.Array(3, 2, 2))])
    builder.add_upsample("larger", 2, 2, "camera", "big", mode="NN")
    builder.add_scale("dim", np.array([0.5, 1.0, 2.0]), 0, False, "big", "dimmed", shape_scale=[3])
    kernel = np.zeros((2, 2, 3, 3), np.float32)  # height, width, input channels, output channels
    kernel[0, 0] = np.eye(3)
    kernel[1, 1] = np.eye(3)
    bias = np.array([0.0, 0.0, -160.0])
    builder.add_convolution(
        "mix", 3, 3, 2, 2, 2, 2, "valid", 1, kernel, bias, True, input_name="dimmed", output_name="mixed"
    )
    builder.add_activation("bend", "LEAKYRELU", "mixed", "bent", [0.25])
    builder.add_elementwise("sum", ["bent", "camera"], "picture", "ADD")
    spec = builder.spec
    as_images(spec, 2, 2)
    path = tmp_path / "other.mlmodel"
    path.write_bytes(spec.SerializeToString())
    photo = torch.tensor([[[[8.0, 16], [24, 32]], [[1, 2], [3, 4]], [[30, 40], [50, 60]]]])
    # Every pixel becomes 2x2, and the kernel adds two of those four: twice the dimmed value.
    red, green = 2 * 0.5 * photo[0, 0], 2 * photo[0, 1]
    blue = 2 * 2 * photo[0, 2] - 160  # -40, 0, 40, 80
    blue = torch.tensor([[-10.0, 0], [40, 80]]).where(torch.tensor(True), blue)
    expected = torch.stack([red, green, blue])[None] + photo
    read = read_model(path)
    assert (read.input, read.output) == ("camera", "picture")
    torch.testing.assert_close(read.run(photo), expected)


def test_a_program_of_other_names_and_order(tmp_path: Path) -> None:
    """y - x in place of x - y, a constant on the left, reflecting padding, 'same' convolution, grouped channels."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - its documentation's name

    weight = np.zeros((3, 1, 1, 3), np.float32)
    weight[:, 0, 0] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]  # left neighbor, itself, right neighbor

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 2, 3))], opset_version=ct.target.iOS16)
    def program(frame: Any) -> Any:
        inverted = mb.sub(x=np.float32(255), y=frame)
        padded = mb.pad(x=inverted, pad=[0, 0, 0, 0, 0, 0, 1, 1], mode="reflect")
        moved = mb.conv(x=padded, weight=weight, groups=3, pad_type="same")
        inner = mb.conv(x=moved, weight=np.ones((3, 1, 1, 3), np.float32), groups=3, pad_type="valid")
        return mb.clip(x=inner, alpha=np.float32(0), beta=np.float32(700), name="painting")

    path = tmp_path / "other.mlpackage"
    with leaving_folders():
        model = ct.convert(
            program,
            convert_to="mlprogram",
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
        )
        spec = model.get_spec()
        as_images(spec, 3, 2)
        ct.models.utils.save_spec(spec, str(path), weights_dir=model.weights_dir)
        del model
    rows = torch.tensor([[0.0, 10, 20], [100, 150, 255]])
    read = read_model(path)
    assert (read.input, read.output, read.bits) == ("frame", "painting", 32)
    result = read.run(rows.expand(1, 3, 2, 3))
    # Inverted and reflected: [245 | 255 245 235 | 245] and [105 | 155 105 0 | 105]; each channel is then shifted, with
    # zeros coming in at the end, and three neighbors are added.
    red = torch.tensor([[0 + 245 + 255, 245 + 255 + 245, 255 + 245 + 235], [0 + 105 + 155, 105 + 155 + 105, 155 + 105]])
    green = torch.tensor([[245 + 255 + 245, 255 + 245 + 235, 245 + 235 + 245], [365, 260, 210]])
    blue = torch.tensor([[255 + 245 + 235, 245 + 235 + 245, 235 + 245 + 0], [260, 210, 105]])
    expected = torch.stack([red, green, blue])[None].clamp(0, 700).float()
    torch.testing.assert_close(result, expected)


class RawNetwork(StyleNetwork):
    """Feeds its first convolution 0..255 rather than 0..1."""

    def forward_with_preactivation(self, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward_with_preactivation(photo_b3hw * 255.0)


@pytest.mark.parametrize(("format", "float16"), [("mlmodel", True), ("mlpackage", False)])
def test_float16_catches_a_network_fed_unscaled_pixels(
    model: LoadedModel, tmp_path: Path, format: str, float16: bool
) -> None:
    """The same weights pass on 0..1; as large as training makes them, which instance norm hides."""
    weights = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    weights["down.0.conv.weight"] *= 4
    edge = torch.zeros(1, 3, 32, 48)
    edge[..., 24:] = 255
    outcomes = {}
    for name, kind in (("good", StyleNetwork), ("raw", RawNetwork)):
        network = kind((9, 9, 9), residual_blocks=3).eval()
        network.load_state_dict(weights)
        loaded = LoadedModel(network, model.config, {})
        path = export_model(loaded, format=format, bits=16, size=(48, 32), out=tmp_path / f"{name}.{format}").path
        outcomes[name] = read_model(path)
    with torch.inference_mode():
        assert (outcomes["good"].run(edge, float16=float16) - model.network(edge)).abs().mean() < 0.5
    with pytest.raises(NotFiniteError, match=r"raw\.\w+: (instance_norm|batchnorm) '\w+'"):
        outcomes["raw"].run(edge, float16=float16)


def test_declared_float16_is_rounded_to(exported: Callable[[str, int], Path]) -> None:
    read = read_model(exported("mlpackage", 16))
    declared = {step.output: step.float16 for step in read.operations}
    assert sum(declared.values()) > 40
    result = read.run(noise(48, 32))
    assert torch.equal(result, result.half().float())
    assert not torch.equal(result, read_model(exported("mlpackage", 32)).run(noise(48, 32)))


def test_an_unknown_operation_is_refused_by_name(tmp_path: Path, exported: Callable[[str, int], Path]) -> None:
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model.FromString(exported("mlmodel", 32).read_bytes())
    spec.neuralNetwork.layers[2].softmax.SetInParent()
    path = tmp_path / "odd.mlmodel"
    path.write_bytes(spec.SerializeToString())
    with pytest.raises(UnknownOperationError, match=r"odd\.mlmodel: layer '\w+' is a softmax"):
        read_model(path)


def test_what_is_no_image_network_is_one_sentence(tmp_path: Path, exported: Callable[[str, int], Path]) -> None:
    whole = exported("mlmodel", 8).read_bytes()
    for name, data in (("empty", b""), ("text", b"hello there"), ("half", whole[: len(whole) // 2])):
        (tmp_path / f"{name}.mlmodel").write_bytes(data)
    (tmp_path / "hollow.mlpackage").mkdir()
    for name in ("empty.mlmodel", "text.mlmodel", "half.mlmodel", "hollow.mlpackage", "absent.mlmodel"):
        with pytest.raises(UserError, match=rf"{name}: [^\n]+$"):
            read_model(tmp_path / name)


def test_a_package_without_its_weights(tmp_path: Path, exported: Callable[[str, int], Path]) -> None:
    import shutil

    shutil.copytree(exported("mlpackage", 16), tmp_path / "a.mlpackage")
    file = tmp_path / "a.mlpackage" / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match="damaged"):
        read_model(tmp_path / "a.mlpackage")
    file.unlink()
    with pytest.raises(UserError, match=r"weight\.bin is missing"):
        read_model(tmp_path / "a.mlpackage")


def test_another_size_is_refused(exported: Callable[[str, int], Path]) -> None:
    read: CoreMLModel = read_model(exported("mlmodel", 8))
    with pytest.raises(UserError, match="48x32, not 32x48"):
        read.run(noise(32, 48))
