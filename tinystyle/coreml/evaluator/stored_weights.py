"""Decodes weights from the forms in which Core ML files store them. Does not depend on operations or networks.

Sources: the comments in NeuralNetwork.proto (`WeightParams`, `QuantizationParams`) and the documentation of the
`constexpr_*` operations of coremltools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinystyle.errors import UserError

__all__ = [
    "Encoding",
    "StoredWeight",
    "decode_affine",
    "decode_linear",
    "decode_palette",
    "decode_plain",
    "decode_weight_params",
    "unpack_indices",
]

Array = NDArray[Any]
Encoding = Literal["float32", "float16", "linear", "palette"]


@dataclass(frozen=True)
class StoredWeight:
    """A constant tensor of a file: its values, and how they are encoded."""

    values: Array
    """Decoded values, float32 or float16, in the tensor's shape."""
    encoding: Encoding
    bits: int
    """Bits per value: 32, 16, or the bits of an index."""
    indices: Array | None = None
    """Indices of a linear or palette encoding, in the tensor's shape, int16."""
    scale: Array | None = None
    """Step between neighboring values of a linear encoding; broadcasts against `indices`."""
    offset: Array | None = None
    """Offset of a linear encoding, float64: value = scale * index + offset."""
    zero_point: Array | None = None
    """Zero point of a linear encoding whose offset is a whole number of steps: offset = -scale * zero_point."""
    palette: Array | None = None
    """Values of a palette encoding, (entries,)."""
    operation: str = ""
    """Name of the operation that uses the weight."""
    kind: str = ""
    """Kind of that operation, as the file names it."""
    parameter: str = ""
    """Role of the weight in it: weight, bias, gamma or beta."""

    @property
    def label(self) -> str:
        """Role of the weight, and kind and name of its operation, for messages."""
        return f"{self.parameter} of {self.kind} '{self.operation}'"


def decode_plain(values: Array) -> StoredWeight:
    """Wrap values that are stored as float32 or float16.

    Raises:
        UserError: they have another type.
    """
    if values.dtype not in (np.float32, np.float16):
        raise UserError(f"a weight is stored as {values.dtype}, which is not supported")
    bits = 8 * values.dtype.itemsize
    return StoredWeight(values, "float32" if bits == 32 else "float16", bits)


def decode_linear(indices: Array, scale: Array, offset: Array, bits: int) -> StoredWeight:
    """Decode value = scale * index + offset, float32; `scale` and `offset` broadcast against `indices`."""
    indices, offset = indices.astype(np.int16), offset.astype(np.float64)
    values = (scale.astype(np.float64) * indices + offset).astype(np.float32)
    return StoredWeight(values, "linear", bits, indices=indices, scale=scale, offset=offset)


def decode_affine(indices: Array, scale: Array, zero_point: Array, bits: int, dtype: Any) -> StoredWeight:
    """Decode value = scale * (index - zero point), rounded to `dtype`; `scale` and `zero_point` broadcast."""
    indices, zero_point = indices.astype(np.int16), zero_point.astype(np.int16)
    step = scale.astype(np.float64)
    values, offset = (step * (indices - zero_point)).astype(dtype), -step * zero_point
    return StoredWeight(values, "linear", bits, indices=indices, scale=scale, offset=offset, zero_point=zero_point)


def decode_palette(indices: Array, palette: Array, bits: int) -> StoredWeight:
    """Decode value = palette[index], where `palette` is (entries,).

    Raises:
        UserError: an index is beyond the palette.
    """
    if indices.size and int(indices.max()) >= palette.size:
        raise UserError(f"a weight's index {indices.max()} is beyond its palette of {palette.size} values")
    return StoredWeight(palette[indices], "palette", bits, indices=indices.astype(np.int16), palette=palette)


def unpack_indices(packed: bytes, bits: int, count: int, bitorder: Literal["big", "little"]) -> Array:
    """Unpack `count` consecutive unsigned integers of `bits` bits; `bitorder` says which bit of a byte is first.

    Raises:
        UserError: `packed` has fewer than `count * bits` bits.
    """
    stream = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder=bitorder)
    if len(stream) < count * bits:
        raise UserError(f"a weight of {count} values of {bits} bits has only {len(packed)} bytes")
    if bits == 8:
        return np.frombuffer(packed, np.uint8)[:count].copy()
    rows = stream[: count * bits].reshape(count, bits)
    padding = (8 - bits, 0) if bitorder == "big" else (0, 8 - bits)
    return np.packbits(np.pad(rows, ((0, 0), padding)), axis=1, bitorder=bitorder).ravel()


def decode_weight_params(field: Any, shape: Sequence[int]) -> StoredWeight:
    """Decode a `WeightParams` of a neural network; `shape` begins with the output channels.

    Quantized indices are packed highest bit first. There is either one linear scale and bias, or one per output
    channel.

    Raises:
        UserError: the number of values or scales does not fit the shape, or the quantization is not supported.
    """
    count = int(np.prod(shape))
    stored = [name for name in ("floatValue", "float16Value", "rawValue", "int8RawValue") if len(getattr(field, name))]
    if stored != ["rawValue"] if field.HasField("quantization") else len(stored) != 1 or "awValue" in stored[0]:
        raise UserError(f"a weight is stored as {' and '.join(stored) or 'nothing'}, which does not fit its encoding")
    if field.HasField("quantization"):
        return _decode_quantized(field, shape, count)
    half = field.float16Value
    values: Array = np.frombuffer(half, "<f2") if half else np.array(field.floatValue, np.float32)
    if values.size != count:
        raise UserError(f"a weight of shape {tuple(shape)} is stored with {values.size} values")
    return decode_plain(values.reshape(shape))


def _decode_quantized(field: Any, shape: Sequence[int], count: int) -> StoredWeight:
    quantization = field.quantization
    bits = quantization.numberOfBits
    if not 1 <= bits <= 8 or not len(field.rawValue):
        raise UserError(f"a weight is quantized in a way that is not supported ({bits} bits)")
    if len(field.rawValue) != -(-count * bits // 8):
        raise UserError(f"a weight of {count} values of {bits} bits is stored in {len(field.rawValue)} bytes")
    indices = unpack_indices(field.rawValue, bits, count, "big").reshape(shape)
    if quantization.HasField("lookupTableQuantization"):
        palette = np.array(quantization.lookupTableQuantization.floatValue, np.float32)
        if palette.size != 2**bits:
            raise UserError(f"a palette of {bits} bits has {palette.size} values")
        return decode_palette(indices, palette, bits)
    linear = quantization.linearQuantization
    scale, bias = (np.array(values, np.float32) for values in (linear.scale, linear.bias))
    if not len(bias):
        bias = np.zeros_like(scale)
    if scale.size not in (1, shape[0]) or bias.size != scale.size:
        raise UserError(f"a weight of {shape[0]} channels has {scale.size} quantization scales and {bias.size} biases")
    per_channel = (-1, *[1] * (len(shape) - 1))
    return decode_linear(indices, scale.reshape(per_channel), bias.reshape(per_channel), bits)
