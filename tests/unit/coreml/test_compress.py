from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from tinystyle.coreml.compress import _palette
from tinystyle.model_file import LoadedModel


def read_spec(path: Path) -> Any:
    from coremltools.proto import Model_pb2

    file = path if path.is_file() else path / "Data" / "com.apple.CoreML" / "model.mlmodel"
    return Model_pb2.Model.FromString(file.read_bytes())


def weights_of(model: LoadedModel) -> list[NDArray[np.float32]]:
    """Of the convolutions, in order of execution."""
    return [module.weight.detach().numpy() for module in model.network.modules() if isinstance(module, nn.Conv2d)]


def layers_of(path: Path, kind: str) -> list[Any]:
    layers = read_spec(path).neuralNetwork.layers
    return [getattr(layer, kind) for layer in layers if layer.WhichOneof("layer") == kind]


def unpack(field: Any, count: int) -> NDArray[np.uint8]:
    bits = np.unpackbits(np.frombuffer(field.rawValue, np.uint8))[: count * field.quantization.numberOfBits]
    return np.packbits(np.pad(bits.reshape(count, -1), ((0, 0), (8 - field.quantization.numberOfBits, 0))), axis=1)


def test_float32_weights_are_exact(model: LoadedModel, exported: Callable[[str, int], Path]) -> None:
    path = exported("mlmodel", 32)
    stored = [np.array(conv.weights.floatValue, np.float32) for conv in layers_of(path, "convolution")]
    assert all(np.array_equal(a, b.ravel()) for a, b in zip(stored, weights_of(model), strict=True))
    norms = [module for module in model.network.modules() if isinstance(module, nn.InstanceNorm2d)]
    for stored_norm, norm in zip(layers_of(path, "batchnorm"), norms, strict=True):
        assert np.array_equal(np.array(stored_norm.gamma.floatValue, np.float32), norm.weight.detach().numpy())
        assert np.array_equal(np.array(stored_norm.beta.floatValue, np.float32), norm.bias.detach().numpy())


def test_float16_weights_are_rounded(model: LoadedModel, exported: Callable[[str, int], Path]) -> None:
    for conv, weight in zip(layers_of(exported("mlmodel", 16), "convolution"), weights_of(model), strict=True):
        assert np.array_equal(np.frombuffer(conv.weights.float16Value, "<f2"), weight.ravel().astype(np.float16))


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_linear_weights_are_within_half_a_step(
    model: LoadedModel, exported: Callable[[str, int], Path], bits: int
) -> None:
    path = exported("mlmodel", bits)
    for conv, weight in zip(layers_of(path, "convolution"), weights_of(model), strict=True):
        assert conv.weights.quantization.numberOfBits == bits
        linear = conv.weights.quantization.linearQuantization
        scale, bias = (np.array(values, np.float64)[:, None] for values in (linear.scale, linear.bias))
        assert len(scale) == len(bias) == weight.shape[0]
        indices = unpack(conv.weights, weight.size).reshape(weight.shape[0], -1)
        error = np.abs(scale * indices + bias - weight.reshape(weight.shape[0], -1))
        assert (error <= 0.5001 * scale).all()
        assert (indices.min(axis=1) == 0).all()
        assert (indices.max(axis=1) == 2**bits - 1).all()
    assert not any(norm.gamma.HasField("quantization") for norm in layers_of(path, "batchnorm"))


def test_linear_weights_are_as_coremltools_packs_them(exported: Callable[[str, int], Path]) -> None:
    from coremltools.models import _QUANTIZATION_MODE_LINEAR_QUANTIZATION as LINEAR
    from coremltools.models.neural_network.quantization_utils import _quantize_wp_field

    exact = layers_of(exported("mlmodel", 32), "convolution")
    for ours, theirs in zip(layers_of(exported("mlmodel", 6), "convolution"), exact, strict=True):
        if min(ours.weights.quantization.linearQuantization.scale) > 1e-6:
            _quantize_wp_field(
                theirs.weights, 6, LINEAR, (theirs.outputChannels, theirs.kernelChannels, *theirs.kernelSize)
            )
            assert ours.weights.rawValue == theirs.weights.rawValue
            linear, expected = (conv.weights.quantization.linearQuantization for conv in (ours, theirs))
            np.testing.assert_allclose(linear.scale, expected.scale, rtol=1e-6)
            np.testing.assert_allclose(linear.bias, expected.bias, rtol=1e-6)


def program_weights(path: Path) -> list[tuple[str, NDArray[Any]]]:
    """(operation, decoded values) of the convolutions' weights in an .mlpackage, in order of execution."""
    from coremltools.libmilstoragepython import _BlobStorageReader

    reader = _BlobStorageReader(str(path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"))
    main = read_spec(path).mlProgram.functions["main"]
    (block,) = main.block_specializations.values()
    operations = {operation.outputs[0].name: operation for operation in block.operations}

    def blob(operation: Any, name: str, read: str, dtype: Any) -> NDArray[Any]:
        attribute = operation.attributes[name]
        if attribute.HasField("immediateValue"):
            return np.frombuffer(attribute.immediateValue.tensor.bytes.values, dtype)
        return np.array(getattr(reader, read)(attribute.blobFileValue.offset)).view(dtype)

    decoded = []
    for operation in block.operations:
        if operation.type == "conv":
            source = operations[operation.inputs["weight"].arguments[0].name]
            dtype = source.outputs[0].type.tensorType.dataType
            if source.type == "constexpr_lut_to_dense":
                palette = blob(source, "lut", "read_fp16_data", np.float16)
                width = {64: 6, 16: 4}[len(palette)]
                count = int(np.prod([dim.constant.size for dim in source.outputs[0].type.tensorType.dimensions]))
                packed = blob(source, "indices", "read_uint8_data", np.uint8)
                # The lowest bits of a byte come first.
                bits = np.unpackbits(packed, bitorder="little")[: count * width].reshape(count, width)
                values = palette[np.packbits(bits, axis=1, bitorder="little").ravel()]
            elif source.type == "constexpr_affine_dequantize":
                quantized = blob(source, "quantized_data", "read_int8_data", np.int8)
                scale = blob(source, "scale", "read_fp16_data", np.float16).astype(np.float64)
                zero = blob(source, "zero_point", "read_int8_data", np.int8).astype(np.float64)
                values = (quantized.reshape(len(scale), -1) - zero[:, None]) * scale[:, None]
            else:
                assert (source.type, dtype) in {("const", 11), ("const", 10)}
                values = (
                    blob(source, "val", "read_float_data", np.float32)
                    if dtype == 11
                    else blob(source, "val", "read_fp16_data", np.float16)
                )
            decoded.append((source.type, values.ravel()))
    return decoded


def test_program_weights_are_exact_at_32_and_rounded_at_16_bits(
    model: LoadedModel, exported: Callable[[str, int], Path]
) -> None:
    for bits, dtype in ((32, np.float32), (16, np.float16)):
        stored = program_weights(exported("mlpackage", bits))
        for (_, values), weight in zip(stored, weights_of(model), strict=True):
            assert values.dtype == dtype
            assert np.array_equal(values, weight.ravel().astype(dtype))


@pytest.mark.parametrize(
    ("bits", "operation", "error"),
    [
        (8, "constexpr_affine_dequantize", 0.006),
        (6, "constexpr_lut_to_dense", 0.02),
        (4, "constexpr_lut_to_dense", 0.075),
    ],
)
def test_compressed_program_weights(
    model: LoadedModel, exported: Callable[[str, int], Path], bits: int, operation: str, error: float
) -> None:
    stored = program_weights(exported("mlpackage", bits))
    for (stored_as, values), weight in zip(stored, weights_of(model), strict=True):
        assert stored_as == operation
        assert np.linalg.norm(values - weight.ravel()) < error * np.linalg.norm(weight)


@pytest.mark.parametrize(("bits", "distortion"), [(4, 0.009497), (6, 0.000687)])
def test_palettes_are_near_the_optimum(bits: int, distortion: float) -> None:
    # The least mean square error for normal values: Max, "Quantizing for minimum distortion", 1960, continued to 64.
    weights = np.random.default_rng(0).standard_normal((128, 64, 3, 3))
    palette, indices = _palette(weights, bits)
    assert palette.shape == (2**bits,)
    assert np.square(palette[indices] - weights.ravel()).mean() < 1.05 * distortion


def test_palette_of_few_values_is_exact() -> None:
    weights = np.random.default_rng(0).choice([-1.0, 0.25, 3.0], (9, 9, 3, 3)).astype(np.float16)
    for values in (weights, np.full_like(weights, 0.5)):
        palette, indices = _palette(values, 4)
        assert np.array_equal(palette[indices], values.ravel())
