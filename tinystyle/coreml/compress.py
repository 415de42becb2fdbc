"""Makes Core ML models small: fewer bits per convolution weight, shorter internal names. Instance norm stays as it is.

The neural-network quantizer of coremltools 9.0 makes a channel constant if its step is under 1e-6, however much
instance norm would amplify that channel, so the arithmetic is here, without that exception.
ML Programs are left to coremltools.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["compress_neural_network", "compress_program", "shorten_names"]

Floats = NDArray[np.floating[Any]]


def compress_neural_network(spec: Any, bits: int) -> None:
    """Store every convolution's weights in `bits` bits, in place.

    16: float16. 8 and fewer: linear, per output channel: w = scale * q + bias with q in 0 .. 2**bits - 1, bias the
    channel's lowest weight, scale its range / (2**bits - 1); q is rounded half to even, packed highest bit first.

    Args:
        spec: Model protobuf holding a neuralNetwork with float32 weights.
        bits: 32 (nothing is done), 16, or 1 to 8.
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
    scale = (weights.max(axis=1) - bias) / (2**bits - 1)
    indices = np.rint((weights - bias[:, None]) / np.where(scale > 0, scale, 1)[:, None]).astype(np.uint8)
    field.quantization.numberOfBits = bits
    field.quantization.linearQuantization.scale.extend(scale.tolist())
    field.quantization.linearQuantization.bias.extend(bias.tolist())
    field.rawValue = np.packbits(np.unpackbits(indices.reshape(-1, 1), axis=1)[:, -bits:]).tobytes()


def shorten_names(spec: Any) -> None:
    """Number a neuralNetwork's layers and their results, in place; the model's input and output keep their names."""
    names = {feature.name: feature.name for feature in (*spec.description.input, *spec.description.output)}
    for layer in spec.neuralNetwork.layers:
        for index, name in enumerate(layer.input):
            layer.input[index] = names[name]
        for index, name in enumerate(layer.output):
            layer.output[index] = names.setdefault(name, str(len(names)))
        layer.name = layer.output[0]


def compress_program(model: Any, bits: int) -> Any:
    """An ML Program with its convolution weights in `bits` bits.

    32 and 16 stay as they are; 8 is linear per output channel; 6 and 4 are palettes, one of 2**bits values per
    convolution, found by k-means.

    Args:
        model: coremltools MLModel holding an mlProgram.
        bits: 32, 16, 8, 6 or 4.
    """
    if bits >= 16:
        return model
    from coremltools.optimize import coreml as optimize

    # Without weight_threshold=0, tensors of 2048 weights and fewer would be left alone: nearly all of a tiny network's.
    if bits == 8:
        linear = optimize.OpLinearQuantizerConfig(mode="linear", weight_threshold=0)
        return optimize.linear_quantize_weights(model, optimize.OptimizationConfig(op_type_configs={"conv": linear}))
    # Our own k-means: that of coremltools needs scikit-learn.
    palette = optimize.OpPalettizerConfig(mode="custom", lut_function=lambda w: _palette(w, bits), weight_threshold=0)
    return optimize.palettize_weights(model, optimize.OptimizationConfig(op_type_configs={"conv": palette}))


def _palette(weights: Floats, bits: int) -> tuple[Floats, NDArray[np.uint8]]:
    """The palette (2**bits,) and every weight's index in it, flat, by Lloyd's k-means in one dimension.

    It starts from values spaced by the cube root of the weights' density, near the optimum where values are many
    (Panter and Dite, "Quantization distortion in pulse-count modulation", 1951).
    """
    values = np.sort(weights.reshape(-1).astype(np.float64))
    counts, bins = np.histogram(values, bins=64)
    mass = np.concatenate([[0.0], np.cumsum(np.cbrt(counts))])
    palette = np.interp((np.arange(2**bits) + 0.5) / 2**bits, mass / mass[-1], bins)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    for _ in range(100):
        edges = np.concatenate([[0], np.searchsorted(values, (palette[1:] + palette[:-1]) / 2), [values.size]])
        counts = np.diff(edges)
        means = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), palette)
        if np.array_equal(means, palette):
            break
        palette = means
    stored = palette.astype(weights.dtype)
    indices = np.searchsorted((palette[1:] + palette[:-1]) / 2, weights.reshape(-1).astype(np.float64))
    return stored, indices.astype(np.uint8)
