"""Any weights: how far quantization moves them, and that the evaluator reads what the exporter wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coremltools.proto import Model_pb2
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.properties import examples
from tinystyle.coreml.evaluator.stored_weights import decode_affine, decode_palette, decode_weight_params
from tinystyle.coreml.exporter.quantize import compress_neural_network, linear_per_channel, palette

Floats = NDArray[np.floating[Any]]


@st.composite
def weights(draw: st.DrawFn, dtypes: tuple[Any, ...] = (np.float16, np.float32)) -> Floats:
    """Of a convolution: channels of very different ranges, of one sign, constant or zero; some values far out."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 5), st.sampled_from([1, 3]), st.sampled_from([1, 3])))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.standard_normal(shape)
    for channel in range(shape[0]):
        kind = draw(st.sampled_from(["any", "positive", "negative", "constant", "zero", "outlier"]))
        if kind == "positive":
            values[channel] = np.abs(values[channel]) + 1
        elif kind == "negative":
            values[channel] = -np.abs(values[channel]) - 1
        elif kind == "constant":
            values[channel] = values[channel].flat[0]
        elif kind == "zero":
            values[channel] = 0
        elif kind == "outlier":
            values[channel].flat[0] = 40
        values[channel] *= draw(st.sampled_from([1e-6, 1e-3, 1, 300]))
    return values.astype(draw(st.sampled_from(dtypes)))


@examples(80)
@given(weights(), st.sampled_from([8, 6, 4]))
def test_linear_weights_are_within_half_a_step_and_read_as_written(exact: Floats, bits: int) -> None:
    indices, scale, zero_point = linear_per_channel(exact, bits)
    half = 2 ** (bits - 1)
    assert -half <= min(indices.min(), zero_point.min())
    assert max(indices.max(), zero_point.max()) < half
    per_channel = (-1, 1, 1, 1)
    step, zero = scale.reshape(per_channel), zero_point.reshape(per_channel)
    read = decode_affine(indices, step, zero, bits, exact.dtype)
    assert np.array_equal(read.indices, indices)
    # Besides half a step, half of the distance between two numbers of the dtype.
    rounding = np.spacing(np.abs(read.values)).astype(np.float64) / 2
    error = np.abs(read.values.astype(np.float64) - exact.astype(np.float64))
    assert (error <= (0.5 + 1e-9) * step.astype(np.float64) + rounding).all()
    assert (decode_affine(zero, step, zero, bits, exact.dtype).values == 0).all(), "zero is met exactly"


@examples(60)
@given(weights(), st.sampled_from([6, 4]))
def test_palettes_give_every_weight_its_nearest_value_and_read_as_written(exact: Floats, bits: int) -> None:
    values, indices = palette(exact, bits)
    assert values.dtype == exact.dtype
    assert values.shape == (2**bits,)
    assert (np.diff(values) >= 0).all()
    read = decode_palette(indices.reshape(exact.shape), values, bits).values
    distances = np.abs(values.astype(np.float64)[:, None] - exact.ravel().astype(np.float64))
    assert np.array_equal(
        np.abs(read.ravel().astype(np.float64) - exact.ravel().astype(np.float64)), distances.min(axis=0)
    )
    assert exact.min() <= read.min()
    assert read.max() <= exact.max()


@examples(80)
@given(weights(dtypes=(np.float32,)), st.sampled_from([32, 16, 8, 7, 6, 5, 4, 3, 2, 1]))
def test_a_neural_network_is_read_as_it_was_written(exact: Floats, bits: int) -> None:
    spec = Model_pb2.Model()
    convolution = spec.neuralNetwork.layers.add().convolution
    convolution.outputChannels = len(exact)
    convolution.weights.floatValue.extend(exact.ravel().tolist())
    compress_neural_network(spec, bits)
    read = decode_weight_params(convolution.weights, exact.shape)
    assert read.bits == bits
    if bits >= 16:
        assert np.array_equal(read.values, exact.astype(np.float32 if bits == 32 else np.float16))
        return
    rows = exact.reshape(len(exact), -1).astype(np.float64)
    scale = ((rows.max(axis=1) - rows.min(axis=1)) / (2**bits - 1)).astype(np.float32).astype(np.float64)
    error = np.abs(read.values.reshape(rows.shape).astype(np.float64) - rows)
    rounding = np.spacing(np.abs(read.values.reshape(rows.shape))).astype(np.float64)
    assert (error <= 0.5001 * scale[:, None] + rounding).all()
    assert read.indices is not None
    assert read.indices.min() >= 0
    assert read.indices.max() < 2**bits


@pytest.mark.parametrize("bits", range(1, 9))
def test_indices_of_any_number_of_bits_are_packed_without_loss(bits: int) -> None:
    spec = Model_pb2.Model()
    convolution = spec.neuralNetwork.layers.add().convolution
    convolution.outputChannels = 1
    levels = np.random.default_rng(bits).permutation(np.arange(2**bits))
    convolution.weights.floatValue.extend(levels.tolist())
    compress_neural_network(spec, bits)
    read = decode_weight_params(convolution.weights, (1, 1, 1, len(levels)))
    assert np.array_equal(read.values.ravel(), levels)
