"""The constants of a Core ML ML Program: inline, in its weight file, or decoded from a compressed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinystyle.coreml.evaluator.operations import UnknownOperationError
from tinystyle.coreml.evaluator.saved_file import check_placeholder
from tinystyle.coreml.evaluator.stored_weights import (
    StoredWeight,
    decode_affine,
    decode_palette,
    decode_plain,
    unpack_indices,
)
from tinystyle.data.placeholders import HEAD
from tinystyle.errors import UserError

__all__ = ["FLOAT16", "INTEGERS", "Constant", "Constants"]

Array = NDArray[Any]
Constant = Array | str | StoredWeight

FLOAT16, _FLOAT32, _INT4, _UINT1 = 10, 11, 25, 37
INTEGERS = frozenset(range(21, 40))
"""MIL's data types of integers."""
# DataType of MIL.proto -> dtype of its values, name of the weight file's method that reads them.
_TYPES: dict[int, tuple[Any, str]] = {
    FLOAT16: (np.float16, "read_fp16_data"),
    _FLOAT32: (np.float32, "read_float_data"),
    21: (np.int8, "read_int8_data"),
    23: (np.int32, "read_int32_data"),
    _INT4: (np.int8, "read_int4_data"),
    31: (np.uint8, "read_uint8_data"),
    33: (np.uint32, "read_uint32_data"),
    35: (np.uint8, "read_uint4_data"),
    36: (np.uint8, "read_uint2_data"),
    _UINT1: (np.uint8, "read_uint1_data"),
    38: (np.uint8, "read_uint6_data"),
    39: (np.uint8, "read_uint3_data"),
}
_UNSIGNED_BITS = {35: 4, 36: 2, _UINT1: 1, 38: 6, 39: 3}


class Constants:
    """The constants read so far, by name.

    Args:
        folder: `Data/com.apple.CoreML` in the package; stored values refer to its files as `@model_path/...`.
    """

    def __init__(self, folder: Path) -> None:
        self._values: dict[str, Constant] = {}
        self._types: dict[str, int] = {}
        self._folder = folder
        self._files: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Constant:
        return self._values[name]

    def read(self, operation: Any) -> bool:
        """Store the constant that `operation` makes and return True; return False if it does not make one."""
        name = operation.outputs[0].name
        if operation.type == "const":
            value = operation.attributes["val"]
            self._values[name], self._types[name] = self.value(value), value.type.tensorType.dataType
            return True
        if operation.type not in _DECODERS:
            return False
        arguments = {key: self.value(value) for key, value in operation.attributes.items() if key != "name"}
        arguments |= {key: self.argument(binding) for key, binding in operation.inputs.items()}
        bits = 4 if any(self._type_of(binding) == _INT4 for binding in operation.inputs.values()) else 8
        dtype, _ = _type(operation.outputs[0].type.tensorType.dataType)
        self._values[name] = _DECODERS[operation.type](arguments, dtype, bits)
        return True

    def argument(self, binding: Any) -> Constant:
        """Return the constant that is bound to an input of an operation.

        Raises:
            UnknownOperationError: the input is not a constant.
        """
        argument = binding.arguments[0]
        if argument.WhichOneof("binding") == "value":
            return self.value(argument.value)
        if argument.name not in self:
            raise UnknownOperationError(f"'{argument.name}' is computed where only a constant is known here")
        return self[argument.name]

    def _type_of(self, binding: Any) -> int | None:
        argument = binding.arguments[0]
        if argument.WhichOneof("binding") == "value":
            data_type: int = argument.value.type.tensorType.dataType
            return data_type
        return self._types.get(argument.name)

    def value(self, value: Any) -> Constant:
        """Decode a MIL `Value`: an array in its declared shape, or a string.

        Raises:
            UnknownOperationError: the way it is stored is not supported.
        """
        tensor_type = value.type.tensorType
        shape = tuple(dimension.constant.size for dimension in tensor_type.dimensions)
        if value.HasField("blobFileValue"):
            dtype, read = _type(tensor_type.dataType)
            data = np.array(getattr(self._file(value.blobFileValue.fileName), read)(value.blobFileValue.offset))
            return _shaped(data.view(dtype), shape)
        tensor = value.immediateValue.tensor
        kind = tensor.WhichOneof("value")
        if kind == "strings":
            return str(tensor.strings.values[0])
        if kind == "bytes":
            return _shaped(_immediate(tensor.bytes.values, tensor_type.dataType, int(np.prod(shape))), shape)
        dtype = {"floats": np.float32, "ints": np.int32, "bools": np.bool_}.get(kind)
        if dtype is None:
            raise UnknownOperationError(f"a constant stored as {kind} is not supported")
        return _shaped(np.array(getattr(tensor, kind).values, dtype), shape)

    def _file(self, name: str) -> Any:
        from coremltools.libmilstoragepython import _BlobStorageReader

        if name not in self._files:
            path = self._folder / name.removeprefix("@model_path/")
            if not path.is_file():
                raise UserError(f"its file {path.name} is missing")
            with path.open("rb") as opened:
                check_placeholder(opened.read(HEAD), path.name)
            self._files[name] = _BlobStorageReader(str(path))
        return self._files[name]


def _type(data_type: int) -> tuple[Any, str]:
    if data_type not in _TYPES:
        raise UnknownOperationError(f"constants of MIL's data type {data_type} are not known here")
    return _TYPES[data_type]


def _immediate(packed: bytes, data_type: int, count: int) -> Array:
    if data_type == _INT4:
        nibbles = unpack_indices(packed, 4, count, "little").astype(np.int8)
        return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)
    if data_type in _UNSIGNED_BITS:
        return unpack_indices(packed, _UNSIGNED_BITS[data_type], count, "little")
    return np.frombuffer(packed, _type(data_type)[0])


def _shaped(data: Array, shape: tuple[int, ...]) -> Array:
    if data.size != int(np.prod(shape)):
        raise UserError(f"a constant of shape {shape} is stored with {data.size} values")
    return data.reshape(shape)


def _array(arguments: Mapping[str, Constant], name: str) -> Array:
    value = arguments.get(name)
    if not isinstance(value, np.ndarray):
        raise UserError(f"a compressed weight lacks its {name}")
    return value


def _affine_dequantize(arguments: Mapping[str, Constant], dtype: Any, bits: int) -> StoredWeight:
    """Decode the linear form of iOS 16: scale * (quantized_data - zero_point), along `axis`."""
    data = _array(arguments, "quantized_data")
    sides = [1] * data.ndim
    sides[int(_array(arguments, "axis"))] = -1
    scale, zero = (_array(arguments, name) for name in ("scale", "zero_point"))
    scale, zero = (x.reshape(sides) if x.size > 1 else x for x in (scale, zero))
    return decode_affine(data, scale, zero, bits, dtype)


def _blockwise_shift_scale(arguments: Mapping[str, Constant], dtype: Any, bits: int) -> StoredWeight:
    """Decode the linear form of iOS 18: scale * (data - offset), with one scale for each block of values."""
    data, scale = _array(arguments, "data"), _array(arguments, "scale")
    zero = _array(arguments, "offset") if "offset" in arguments else np.zeros_like(scale)
    for axis, (side, blocks) in enumerate(zip(data.shape, scale.shape, strict=True)):
        if blocks not in (1, side):
            scale, zero = (np.repeat(x, side // blocks, axis) for x in (scale, zero))
    return decode_affine(data, scale, zero, bits, dtype)


def _cast(arguments: Mapping[str, Constant], _dtype: Any, _bits: int) -> StoredWeight:
    """Decode the plain form of iOS 16: float16 values for a computation in float32."""
    return decode_plain(_array(arguments, "source_val"))


def _lut_to_dense(arguments: Mapping[str, Constant], _dtype: Any, _bits: int) -> StoredWeight:
    """Decode the palette form: lut[indices].

    Of iOS 16: `lut` is (entries,), and the indices are packed lowest bit first. Of iOS 18: the indices have a type of as
    many bits, and `lut` has a dimension for each of theirs, one for its entries, and one for values that share an index.
    """
    palette, indices = _array(arguments, "lut"), _array(arguments, "indices")
    bits = int(palette.size).bit_length() - 1
    if palette.size != 2**bits:
        raise UserError(f"a palette has {palette.size} values, which is not a power of 2")
    if "shape" not in arguments:
        if palette.shape != (*[1] * indices.ndim, palette.size, 1):
            raise UnknownOperationError("a palette for each group of channels is not supported")
        return decode_palette(indices, palette.ravel(), bits)
    if palette.ndim != 1:
        raise UnknownOperationError("a palette of several dimensions is not supported")
    shape = tuple(int(side) for side in _array(arguments, "shape"))
    count = int(np.prod(shape))
    packed = indices.astype(np.uint8).tobytes()
    if len(packed) != -(-count * bits // 8):
        raise UserError(f"a weight of {count} values of {bits} bits is stored in {len(packed)} bytes")
    return decode_palette(unpack_indices(packed, bits, count, "little").reshape(shape), palette, bits)


def _sparse_to_dense(arguments: Mapping[str, Constant], _dtype: Any, _bits: int) -> StoredWeight:
    """Decode pruned weights: `nonzero_data` where `mask` is 1, in order, and 0 elsewhere.

    Of iOS 16, the mask is packed lowest bit first; of iOS 18, it has the shape of the weight.
    """
    values, mask = _array(arguments, "nonzero_data"), _array(arguments, "mask")
    if "shape" in arguments:
        shape = tuple(int(side) for side in _array(arguments, "shape"))
        mask = unpack_indices(mask.astype(np.uint8).tobytes(), 1, int(np.prod(shape)), "little").reshape(shape)
    if values.ndim != 1 or int(mask.sum()) != values.size:
        raise UserError(f"a pruned weight has {values.size} values for {int(mask.sum())} places")
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask.astype(np.bool_)] = values
    return decode_plain(dense)


_DECODERS: dict[str, Callable[[Mapping[str, Constant], Any, int], StoredWeight]] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_cast": _cast,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_sparse_to_dense": _sparse_to_dense,
}
