"""An ONNX graph under construction: nodes, initializers shared by value, and short names.

Does not depend on networks. Imports onnx, which the extra `onnx` brings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tinystyle.coreml.exporter.quantize import linear_per_channel

__all__ = ["Graph"]

Array = NDArray[Any]


class Graph:
    """Nodes and initializers, in the order in which they were added. A name is the number of the value.

    Args:
        bits: bits per weight of a convolution: 8 stores it as integers, linear per output channel; otherwise it is
            stored as `dtype`.
        dtype: type of the computation, float16 or float32.
        step: the multiple of pixels to which images of other sizes are extended; None if there are no others.
    """

    def __init__(self, bits: int, dtype: Any, step: int | None) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._names: dict[Any, str] = {}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._arrays: dict[Any, Array] = {}
        self._count = 0
        self._bits, self._dtype, self._step = bits, np.dtype(dtype), step
        self._missing: str | None = None

    def name(self, node: Any, name: str) -> None:
        """Say that the result of a node of the traced network has this name here."""
        self._names[node] = name

    def parameter(self, node: Any, values: Array) -> None:
        """Say that a node of the traced network is a parameter with these values."""
        self._arrays[node] = values

    def append(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Append a node with one result, and return the name of it."""
        output = output or self._next()
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def value(self, argument: Any) -> str:
        """Return the name of a result, a parameter, a number, or a list of numbers, of the traced network."""
        if isinstance(argument, list):
            return self.constant(np.array(argument, self._dtype))
        if argument in self._names:
            return self._names[argument]
        values = self._arrays[argument] if argument in self._arrays else np.array(argument)
        return self.constant(values.astype(self._dtype))

    def weight(self, argument: Any) -> str:
        """Return the name of a convolution's weight, stored in as many bits as were asked for."""
        if self._bits != 8:
            return self.value(argument)
        indices, scale, zero_point = linear_per_channel(self._arrays[argument].astype(np.float32), 8)
        stored = (self.constant(indices), self.constant(scale), self.constant(zero_point))
        weight = self.append("DequantizeLinear", *stored, axis=0)
        return weight if self._dtype == np.float32 else self.append("Cast", weight, to=TensorProto.FLOAT16)

    def constant(self, values: Array) -> str:
        """Return the name of an initializer with these values, made once."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = self._next()
            self.initializers.append(numpy_helper.from_array(values, self._constants[key]))
        return self._constants[key]

    def any_side(self, image: str) -> None:
        """Compute by how many pixels an image misses multiples of the step, per axis, for `padding` and `end`."""
        if self._step:
            steps = self.constant(np.array([1, 1, self._step, self._step], np.int64))
            self._missing = self.append("Mod", self.append("Neg", self.append("Shape", image)), steps)

    def padding(self, begin: list[int], end: list[int]) -> str:
        """Return the name of the pixels to add at the beginnings and the ends of all axes.

        What an image misses is added at the ends of the first padding, which is that of the image.
        """
        if self._missing is None or self._padded:
            return self.constant(np.array([*begin, *end], np.int64))
        self._padded = True
        ends = self.append("Add", self._missing, self.constant(np.array(end, np.int64)))
        return self.append("Concat", self.constant(np.array(begin, np.int64)), ends, axis=0)

    _padded = False

    def end(self, axis: int, end: int) -> str:
        """Return the name of the end of a slice; one that is counted from the image's end cuts off what was added."""
        ends = self.constant(np.array([end], np.int64))
        if self._missing is None or end >= 0:
            return ends
        first, last, zero = (self.constant(np.array([number], np.int64)) for number in (axis, axis + 1, 0))
        return self.append("Sub", ends, self.append("Slice", self._missing, first, last, zero))

    def _next(self) -> str:
        self._count += 1
        return str(self._count)
