"""Quantization of convolution weights: the arithmetic, and how the neural network format stores the result.

Implemented here instead of using coremltools 9.0. Its neural-network quantizer makes a channel constant if its step is
under 1e-6, however much instance norm would amplify it; its ML Program quantizer computes indices from a step that it
then rounds to float16; its k-means needs scikit-learn, and rounds its values after choosing the indices. Here every
index is the best one for the numbers that are stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["compress_neural_network", "linear_per_channel", "palette", "shorten_names", "shorten_norms"]

Floats = NDArray[np.floating[Any]]


def linear_per_channel(weights: Floats, bits: int) -> tuple[NDArray[np.int8], Floats, NDArray[np.int8]]:
    """Quantize affinely per output channel: w is close to scale * (q - zero point), and 0 is represented exactly.

    The scale is (max(w, 0) - min(w, 0)) / (2**bits - 1), rounded up to the dtype of `weights`, so that no weight is
    further than half a step from its value; it is 1 if all weights are 0.

    Args:
        weights: (output channels, ...), float16 or float32, in which the program computes.
        bits: at most 8.

    Returns:
        q, in the shape of the weights; per channel the scale, in the dtype of the weights; and per channel the zero
        point. q and zero point are in -2**(bits - 1) .. 2**(bits - 1) - 1.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    low, high = np.minimum(rows.min(axis=1), 0), np.maximum(rows.max(axis=1), 0)
    step = (high - low) / (2**bits - 1)
    scale = step.astype(weights.dtype)
    scale = np.where(scale < step, np.nextafter(scale, np.array(np.inf, weights.dtype)), scale)
    scale = np.where(scale > 0, scale, np.ones_like(scale))
    half = 2 ** (bits - 1)
    zero_point = np.rint(-low / scale) - half
    indices = np.rint(rows / scale.astype(np.float64)[:, None] + zero_point[:, None])
    indices = np.clip(indices, -half, half - 1).astype(np.int8).reshape(weights.shape)
    return indices, scale, zero_point.astype(np.int8)


def palette(weights: Floats, bits: int) -> tuple[Floats, NDArray[np.uint8]]:
    """Find 2**bits values for a whole tensor, and the index of every weight among them (flat), by Lloyd's k-means.

    The values have the weights' dtype and ascend. Each value is the rounded mean of the weights that are assigned to
    it; each weight is assigned to the nearest value, and to the lower of two equally near ones. If there are fewer
    clusters than values, the last value repeats.

    The nearest value of the dtype to a cluster's mean has the least error for it, so the error falls until nothing
    changes; a cycle of ties ends when it closes. The initial values are spaced by the cube root of the weights'
    density, which is close to the optimum for many values (Panter and Dite, "Quantization distortion in pulse-count
    modulation", 1951).
    """
    ordered = np.sort(weights.reshape(-1).astype(np.float64))
    counts, bins = np.histogram(ordered, bins=64)
    mass = np.concatenate([[0.0], np.cumsum(np.cbrt(counts))])
    values = np.interp((np.arange(2**bits) + 0.5) / 2**bits, mass / mass[-1], bins)
    seen: set[bytes] = set()
    while values.tobytes() not in seen:
        seen.add(values.tobytes())
        edges = np.searchsorted(ordered, (values[1:] + values[:-1]) / 2, side="right")
        # Not differences of cumulative sums: for so many weights, their rounding would be visible in float32.
        exact = np.array([cluster.mean() for cluster in np.split(ordered, edges) if cluster.size])
        means = exact.astype(weights.dtype).astype(np.float64)
        values = np.concatenate([means, np.full(2**bits - len(means), means[-1])])
    indices = np.searchsorted((values[1:] + values[:-1]) / 2, weights.reshape(-1).astype(np.float64))
    return values.astype(weights.dtype), indices.astype(np.uint8)


def compress_neural_network(spec: Any, bits: int) -> None:
    """Store every convolution's weights in `bits` bits, in place.

    16: float16. 8 and fewer: linear per output channel: w = scale * q + bias with q in 0 .. 2**bits - 1, where bias is
    the channel's lowest weight and scale is its range / (2**bits - 1) in float32; q is packed highest bit first.

    Args:
        spec: Model protobuf with a neuralNetwork of float32 weights.
        bits: 32 (changes nothing), 16, or 1 to 8.
    """
    for layer in spec.neuralNetwork.layers if bits < 32 else ():
        if layer.WhichOneof("layer") == "convolution":
            _compress_weights(layer.convolution.weights, layer.convolution.outputChannels, bits)


def _compress_weights(field: Any, channels: int, bits: int) -> None:
    weights = np.array(field.floatValue, np.float64).reshape(channels, -1)
    del field.floatValue[:]
    if bits == 16:
        field.float16Value = weights.astype("<f2").tobytes()
        return
    bias = weights.min(axis=1)
    scale = ((weights.max(axis=1) - bias) / (2**bits - 1)).astype(np.float32).astype(np.float64)
    indices = np.rint((weights - bias[:, None]) / np.where(scale > 0, scale, 1)[:, None])
    indices = np.minimum(indices, 2**bits - 1).astype(np.uint8)
    field.quantization.numberOfBits = bits
    field.quantization.linearQuantization.scale.extend(scale.tolist())
    field.quantization.linearQuantization.bias.extend(bias.tolist())
    field.rawValue = np.packbits(np.unpackbits(indices.reshape(-1, 1), axis=1)[:, -bits:]).tobytes()


def shorten_norms(spec: Any) -> None:
    """Store the scales and shifts of norms in float16, in place: for norms where they are 1 and 0, to the bit the same."""
    for layer in spec.neuralNetwork.layers:
        if layer.WhichOneof("layer") == "batchnorm":
            for field in (layer.batchnorm.gamma, layer.batchnorm.beta):
                values = np.array(field.floatValue, "<f2")
                assert np.isin(values, (0, 1)).all()
                del field.floatValue[:]
                field.float16Value = values.tobytes()


def shorten_names(spec: Any) -> None:
    """Number a neuralNetwork's layers and their results, in place; the model's input and output keep their names."""
    names = {feature.name: feature.name for feature in (*spec.description.input, *spec.description.output)}
    for layer in spec.neuralNetwork.layers:
        for index, name in enumerate(layer.input):
            layer.input[index] = names[name]
        for index, name in enumerate(layer.output):
            layer.output[index] = names.setdefault(name, str(len(names)))
        layer.name = layer.output[0]
