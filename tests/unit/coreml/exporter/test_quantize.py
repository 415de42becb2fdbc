from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from tinystyle.coreml.evaluator.model import StoredWeight, read_model
from tinystyle.coreml.exporter.quantize import linear_per_channel, palette
from tinystyle.model_file import LoadedModel

Export = Callable[..., Path]


def read_spec(path: Path) -> Any:
    from coremltools.proto import Model_pb2

    file = path if path.is_file() else path / "Data" / "com.apple.CoreML" / "model.mlmodel"
    return Model_pb2.Model.FromString(file.read_bytes())


def weights_of(model: LoadedModel) -> list[NDArray[np.float32]]:
    """Of the convolutions, in order of execution."""
    return [module.weight.detach().numpy() for module in model.network.modules() if isinstance(module, nn.Conv2d)]


def norms_of(model: LoadedModel) -> list[nn.InstanceNorm2d]:
    return [module for module in model.network.modules() if isinstance(module, nn.InstanceNorm2d)]


def stored_in(path: Path, parameter: str) -> list[StoredWeight]:
    return [weight for weight in read_model(path).weights if weight.parameter == parameter]


def layers_of(path: Path, kind: str) -> list[Any]:
    layers = read_spec(path).neuralNetwork.layers
    return [getattr(layer, kind) for layer in layers if layer.WhichOneof("layer") == kind]


def operations_of(path: Path) -> list[Any]:
    (block,) = read_spec(path).mlProgram.functions["main"].block_specializations.values()
    return list(block.operations)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["mlmodel", "mlpackage"])
@pytest.mark.parametrize("bits", [32, 16])
def test_floating_point_weights_are_those_of_the_network(
    model: LoadedModel, exported: Export, format: str, bits: int
) -> None:
    dtype = np.float32 if bits == 32 else np.float16
    for stored, weight in zip(stored_in(exported(format, bits), "weight"), weights_of(model), strict=True):
        assert stored.values.dtype == dtype
        assert np.array_equal(stored.values, weight.astype(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["48x32", "32x48,48x32", "32x32..64x64"])
def test_nothing_is_folded_into_weights_at_any_kind_of_size(model: LoadedModel, exported: Export, size: str) -> None:
    for stored, weight in zip(stored_in(exported("mlpackage", 32, size), "weight"), weights_of(model), strict=True):
        assert np.array_equal(stored.values, weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "bits", "ios"), [("mlmodel", 4, 16), ("mlpackage", 32, 16), ("mlpackage", 4, 16), ("mlpackage", 4, 18)]
)
def test_instance_norm_is_not_compressed(
    model: LoadedModel, exported: Export, format: str, bits: int, ios: int
) -> None:
    path = exported(format, bits, ios=ios)
    dtype = np.float32 if format == "mlmodel" or bits == 32 else np.float16
    for parameter, attribute in (("gamma", "weight"), ("beta", "bias")):
        for stored, norm in zip(stored_in(path, parameter), norms_of(model), strict=True):
            assert np.array_equal(stored.values, getattr(norm, attribute).detach().numpy().astype(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 6, 4])
def test_linear_weights_of_the_neural_network(model: LoadedModel, exported: Export, bits: int) -> None:
    for stored, weight in zip(stored_in(exported("mlmodel", bits), "weight"), weights_of(model), strict=True):
        assert (stored.encoding, stored.bits) == ("linear", bits)
        assert stored.indices is not None
        assert stored.scale is not None
        assert stored.offset is not None
        scale, bias = (np.asarray(x, np.float64).reshape(len(weight), 1, 1, 1) for x in (stored.scale, stored.offset))
        assert (np.abs(scale * stored.indices + bias - weight) <= 0.5001 * scale).all()
        indices = stored.indices.reshape(len(weight), -1)
        assert (indices.min(axis=1) == 0).all()
        assert (indices.max(axis=1) == 2**bits - 1).all()


@pytest.mark.slow
def test_linear_weights_are_as_coremltools_packs_them(exported: Export) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "ios", "operation"),
    [
        (8, 16, "constexpr_affine_dequantize"),
        (4, 18, "constexpr_blockwise_shift_scale"),
        (6, 16, "constexpr_lut_to_dense"),
        (4, 16, "constexpr_lut_to_dense"),
    ],
)
@pytest.mark.parametrize("compute", ["float16", "float32"])
def test_compressed_weights_of_the_program(
    model: LoadedModel, exported: Export, bits: int, ios: int, operation: str, compute: str
) -> None:
    path = exported("mlpackage", bits, ios=ios, compute=compute)
    assert [op.type for op in operations_of(path)].count(operation) == 12
    for stored, weight in zip(stored_in(path, "weight"), weights_of(model), strict=True):
        held = weight.astype(compute)
        assert stored.values.dtype == compute
        assert stored.indices is not None
        if operation == "constexpr_lut_to_dense":
            values, indices = palette(held, bits)
            assert stored.palette is not None
            assert np.array_equal(stored.palette, values)
            assert np.array_equal(stored.indices.ravel(), indices)
        else:
            indices, scale, zero_point = linear_per_channel(held, bits)
            assert stored.scale is not None
            assert stored.offset is not None
            assert np.array_equal(stored.indices, indices)
            assert stored.scale.dtype == compute
            assert np.array_equal(stored.scale.ravel(), scale)
            offset = -scale.astype(np.float64) * zero_point
            assert np.array_equal(stored.offset.ravel(), offset)


@pytest.mark.slow
def test_float16_weights_in_a_float32_program_are_cast_as_the_file_is_read(
    model: LoadedModel, exported: Export
) -> None:
    kinds = {op.outputs[0].name: op for op in operations_of(exported("mlpackage", 16, compute="float32"))}
    convolutions = [op for op in kinds.values() if op.type == "conv"]
    assert len(convolutions) == 12
    assert {kinds[op.inputs["weight"].arguments[0].name].type for op in convolutions} == {"constexpr_cast"}
    weights = sum(weight.nbytes for weight in weights_of(model))
    stored = exported("mlpackage", 16, compute="float32") / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    assert weights / 2 < stored.stat().st_size < 0.6 * weights


def channels(dtype: Any) -> NDArray[Any]:
    """One of each kind that is easy to get wrong."""
    random = np.random.default_rng(1).standard_normal((9, 5, 3, 3))
    random[1] = np.abs(random[1])  # its lowest is not 0, which has to be met all the same
    random[2] = -np.abs(random[2])
    random[3] = 0
    random[4] = 0.25
    random[5] *= 1e-5  # its step is no ordinary float16
    random[6] *= 1e-7
    random[7] *= 5e3
    random[8, 0, 0, 0] = 40
    return random.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("bits", [8, 4])
def test_linear_indices_are_the_nearest_for_what_is_stored(dtype: Any, bits: int) -> None:
    weights = channels(dtype)
    indices, scale, zero_point = linear_per_channel(weights, bits)
    assert scale.dtype == dtype
    assert (scale > 0).all()
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert lowest <= min(indices.min(), zero_point.min())
    assert max(indices.max(), zero_point.max()) <= highest
    step, zero = (x.astype(np.float64).reshape(-1, 1, 1, 1) for x in (scale, zero_point))
    error = np.abs(step * (indices - zero) - weights.astype(np.float64))
    assert (error <= (0.5 + 1e-9) * step).all()
    # The least scale that does it, but for its own rounding.
    wide = weights.reshape(9, -1).astype(np.float64)
    least = (np.maximum(wide.max(1), 0) - np.minimum(wide.min(1), 0)) / (2**bits - 1)
    rounding = np.spacing(scale).astype(np.float64)
    assert (scale[least > 0] - least[least > 0] < rounding[least > 0]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("bits", [6, 4])
def test_palettes_fit_the_weights_that_take_them(dtype: Any, bits: int) -> None:
    for weights in (channels(dtype), np.random.default_rng(2).standard_normal((32, 32, 3, 3)).astype(dtype)):
        values, indices = palette(weights, bits)
        assert values.dtype == dtype
        assert values.shape == (2**bits,)
        assert (np.diff(values) >= 0).all()
        flat, exact = weights.ravel().astype(np.float64), values.astype(np.float64)
        assert np.array_equal(np.abs(exact[indices] - flat), np.abs(exact[:, None] - flat).min(axis=0))
        for entry in np.unique(indices):
            assert flat[indices == entry].mean().astype(dtype) == values[entry]
        unused = np.setdiff1d(np.arange(2**bits), indices)
        assert (values[unused] == values[-1]).all()


@pytest.mark.parametrize(("bits", "distortion"), [(4, 0.009497), (6, 0.000687)])
def test_palettes_are_near_the_optimum(bits: int, distortion: float) -> None:
    # The least mean square error for normal values: Max, "Quantizing for minimum distortion", 1960, continued to 64.
    weights = np.random.default_rng(0).standard_normal((128, 64, 3, 3)).astype(np.float32)
    values, indices = palette(weights, bits)
    assert np.square(values[indices] - weights.ravel()).mean() < 1.02 * distortion


def test_palette_of_few_values_is_exact() -> None:
    weights = np.random.default_rng(0).choice([-1.0, 0.25, 3.0], (9, 9, 3, 3)).astype(np.float16)
    for few in (weights, np.full_like(weights, 0.5), np.zeros_like(weights)):
        values, indices = palette(few, 4)
        assert np.array_equal(values[indices], few.ravel())
