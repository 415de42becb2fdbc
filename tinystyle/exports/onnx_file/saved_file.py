"""Reads a saved ONNX file, and runs it in ONNX Runtime. It sees only bytes, and does not depend on networks or the exporter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tinystyle.coreml.evaluator.stored_weights import StoredWeight, decode_affine, decode_plain
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data.placeholders import placeholder
from tinystyle.errors import UserError
from tinystyle.exports.extras import require
from tinystyle.exports.runtime_file import RuntimeFile, check_named

__all__ = ["OnnxFile", "read"]

_KINDS = {"Conv": ("conv", ("weight", "bias")), "InstanceNormalization": ("instance_norm", ("gamma", "beta"))}
"""Operator -> kind of operation, and roles of its inputs after the first."""
_NO_LIMIT = 4096


@dataclass(frozen=True)
class OnnxFile(RuntimeFile):
    """An ONNX file that takes an image and returns one."""

    path: Path
    model: Any
    """The ModelProto."""
    input: str
    output: str
    sizes: ImageSizes
    metadata: dict[str, str]
    weights: tuple[StoredWeight, ...]
    """Weights of convolutions and norms, in order of execution."""
    shares: tuple[str, int] | None = None
    """Name of the second input of a file of many styles, (1, styles, 1, 1), and the number of styles."""
    chosen: tuple[float, ...] | None = None
    """The share of each style; see `choose`."""
    format: str = "onnx"
    tolerance: float = 0.25
    """Largest difference, in gray levels, from the network with the file's own weights, in float32."""

    @cached_property
    def compute(self) -> str:
        """Precision that the file computes in: float16 or float32."""
        return "float16" if _has_float16(self.model) else "float32"

    @cached_property
    def runtime(self) -> str:
        """What runs the file here, and its version."""
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__} on this machine's CPU"

    def fault(self) -> str | None:
        """Return what ONNX's own checker finds wrong, in words, or None."""
        import onnx

        try:
            onnx.checker.check_model(self.model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            return f"ONNX's checker refuses it ({' '.join(str(error).split())[:200]})"
        return None

    def run(self, image_13hw: Tensor, *, float16: bool = False, exact: bool = False) -> Tensor:  # noqa: ARG002
        """Compute the output for one image, in ONNX Runtime.

        Args:
            image_13hw: RGB in 0..255, float32, (1, 3, height, width).
            float16: of no effect: the file declares its precision.
            exact: compute in float32, even if the file declares float16.

        Returns:
            RGB, float32, (1, 3, height, width).

        Raises:
            UserError: the file does not accept images of this size, no style is chosen, or ONNX Runtime cannot run it.
            NotFiniteError: the output has NaN or infinity.
        """
        inputs = self._inputs(image_13hw)
        session = self._exact_session if exact and self.compute == "float16" else self._session
        try:
            (result,) = session.run([self.output], inputs)
        # The graph is foreign, and ONNX Runtime's exceptions share no base of their own.
        except Exception as error:
            raise UserError(
                f"{self.path}: ONNX Runtime cannot run it ({' '.join(str(error).split())[:200]})"
            ) from error
        return self._finite(result)

    @cached_property
    def _session(self) -> Any:
        return _session(self.path, self.model)

    @cached_property
    def _exact_session(self) -> Any:
        return _session(self.path, _in_float32(self.model))


def read(path: Path) -> OnnxFile:
    """Read an .onnx file.

    Raises:
        UserError: it is missing, damaged, or not a model from one RGB image to one; or the extra `onnx` is missing.
    """
    require("onnx", "an .onnx file")
    import onnx
    from google.protobuf.message import DecodeError

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if found := placeholder(data):
        raise UserError(f"{path}: {found}")
    try:
        model = onnx.load_from_string(data)
        if not model.graph.node:
            raise UserError("it has no operations")
        return _file(path, model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (DecodeError, ValueError, TypeError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: not an ONNX file of an image network, or damaged ({reason})") from error


def _file(path: Path, model: Any) -> OnnxFile:
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) not in (1, 2) or len(graph.output) != 1:
        raise UserError(
            "a model that does not take one image, or one and the share of each style, and return one is not supported"
        )
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    shares = _shares(inputs[1]) if len(inputs) == 2 else None
    check_named(metadata, shares)
    sides = _sides(inputs[0])
    if sides != _sides(graph.output[0]):
        raise UserError("its output is declared with other sides than its input")
    return OnnxFile(
        path=path,
        model=model,
        input=inputs[0].name,
        output=graph.output[0].name,
        sizes=_sizes(sides, metadata.get("sizes")),
        metadata=metadata,
        weights=tuple(_weights(graph)),
        shares=shares,
    )


def _shares(value: Any) -> tuple[str, int]:
    """Return name and length of the second input of a file of many styles."""
    import onnx

    tensor = value.type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != onnx.TensorProto.FLOAT or len(dims) != 4 or dims[0] != 1 or dims[2:] != [1, 1]:
        raise UserError(f"'{value.name}' is not the share of each style, float32 (1, styles, 1, 1)")
    return str(value.name), int(dims[1])


def _sides(value: Any) -> tuple[int, int] | None:
    """Return the (width, height) that an image declares; None if both are free."""
    import onnx

    tensor = value.type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != onnx.TensorProto.FLOAT or len(dims) != 4 or dims[:2] != [1, 3]:
        raise UserError(f"'{value.name}' is not float32 of shape (1, 3, height, width), which is not supported")
    if bool(dims[2]) != bool(dims[3]):
        raise UserError(f"'{value.name}' leaves one side free and not the other, which is not supported")
    return (dims[3], dims[2]) if dims[2] else None


def _sizes(sides: tuple[int, int] | None, said: str | None) -> ImageSizes:
    sizes = ImageSizes.parse(said) if said else None
    if sides:
        if sizes and sizes != ImageSizes.fixed(*sides):
            raise UserError(f"its metadata say that it takes {sizes}, and its graph takes {sides[0]}x{sides[1]}")
        return ImageSizes.fixed(*sides)
    if sizes and sizes.kind == "fixed":
        raise UserError(f"its metadata say that it takes {sizes}, and its graph leaves the sides free")
    return sizes or ImageSizes("ranged", ((20, 20), (_NO_LIMIT, _NO_LIMIT)), (640, 480))


def _weights(graph: Any) -> Iterator[StoredWeight]:
    """Yield the constants that convolutions and norms take, in the order of the nodes, which is that of execution."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type not in _KINDS:
            continue
        kind, roles = _KINDS[node.op_type]
        for role, name in zip(roles, node.input[1:], strict=False):
            label = {"operation": node.name or node.output[0], "kind": kind, "parameter": role}
            yield replace(_stored(name, constants, made_by), **label)


def _stored(name: str, constants: dict[str, Any], made_by: dict[str, Any]) -> StoredWeight:
    if name in constants:
        return decode_plain(_array(constants[name]))
    node = made_by.get(name)
    if node is not None and node.op_type == "Cast":
        return _stored(node.input[0], constants, made_by)
    if node is None or node.op_type != "DequantizeLinear" or any(each not in constants for each in node.input):
        raise UserError(f"weight '{name}' is no constant, which is not supported")
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    indices, scale, zero_point = (_array(constants[each]) for each in node.input)
    if (
        axis != 0
        or indices.dtype not in (np.uint8, np.int8)
        or scale.shape != (len(indices),)
        or zero_point.shape != scale.shape
    ):
        raise UserError(f"weight '{name}' is quantized in a way that is not supported")
    per_channel = (-1, *[1] * (indices.ndim - 1))
    return decode_affine(indices, scale.reshape(per_channel), zero_point.reshape(per_channel), 8, np.float32)


def _array(tensor: Any) -> Any:
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL:
        raise UserError(f"'{tensor.name}' is in another file, which is not supported")
    return numpy_helper.to_array(tensor)


def _session(path: Path, model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{path}: ONNX Runtime cannot load it ({' '.join(str(error).split())[:200]})") from error


def _has_float16(model: Any) -> bool:
    from onnx import TensorProto

    return any(
        node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16 for node in model.graph.node
    ) or any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)


def _in_float32(model: Any) -> Any:
    """Return a copy of a model that computes in float32 what it declares in float16; the weights keep their values."""
    import onnx
    from onnx import TensorProto, numpy_helper

    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for node in copy.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    return copy
