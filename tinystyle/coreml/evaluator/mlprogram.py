"""The operations of a Core ML ML Program (`.mlpackage`), read from its MIL protobuf; one function per operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinystyle.coreml.evaluator import operations as ops
from tinystyle.coreml.evaluator.mlprogram_constants import FLOAT16, INTEGERS, Constant, Constants
from tinystyle.coreml.evaluator.operations import Compute, Operation, Rounding, UnknownOperationError
from tinystyle.coreml.evaluator.stored_weights import StoredWeight, decode_plain
from tinystyle.errors import UserError

__all__ = ["check_functions", "read_program"]


def read_program(program: Any, folder: Path) -> tuple[list[Operation], list[StoredWeight]]:
    """Read the operations of the main function, in order of execution, and the weights that they use.

    Args:
        program: MIL `Program` protobuf.
        folder: `Data/com.apple.CoreML` in the package, which contains the weight file.

    Raises:
        UnknownOperationError: an operation, or the way it is used, is not supported.
    """
    check_functions(program)
    main = program.functions["main"]
    if main.opset not in main.block_specializations:
        raise UserError(f"its main function has no program for its own opset {main.opset!r}")
    block = main.block_specializations[main.opset]
    constants = Constants(folder)
    operations: list[Operation] = []
    weights: list[StoredWeight] = []
    for spec in block.operations:
        if spec.type in _PRUNED_AND_COMPRESSED:
            raise UnknownOperationError(
                f"its weights are pruned and then compressed once more ({spec.type}), which is not supported: do one of both"
            )
        if len(spec.outputs) != 1 or len(spec.blocks):
            raise UnknownOperationError(f"a {spec.type} with blocks or several results is not supported")
        if not constants.read(spec):
            operations.append(_operation(spec, constants, weights))
    return operations, weights


def check_functions(program: Any) -> None:
    """Raise UnknownOperationError unless a program has the one function `main`."""
    if (names := sorted(program.functions)) != ["main"]:
        raise UnknownOperationError(
            f"it has {len(names)} functions ({', '.join(names)}), and only files of one, named main, are supported; "
            "export a file for each"
        )


def _operation(spec: Any, constants: Constants, weights: list[StoredWeight]) -> Operation:
    """Build an operation on tensors: read its constant inputs now, and append its weights to `weights`."""
    output = spec.outputs[0]
    label = f"operation '{output.name}' ({spec.type})"
    if spec.type not in _OPERATIONS:
        raise UnknownOperationError(f"operation '{output.name}' is a {spec.type}, which is not supported")
    tensors: dict[str, str] = {}
    settings: dict[str, Constant] = {}
    for key, binding in spec.inputs.items():
        if len(binding.arguments) != 1:
            raise UnknownOperationError(f"{label} takes several tensors as its {key}, which is not supported")
        argument = binding.arguments[0]
        if argument.WhichOneof("binding") == "name" and argument.name not in constants:
            tensors[key] = argument.name
        else:
            settings[key] = constants.argument(binding)
    for key in ("weight", "bias", "gamma", "beta"):
        value = settings.get(key)
        weight = decode_plain(value) if isinstance(value, np.ndarray) else value
        if isinstance(weight, StoredWeight):
            weights.append(replace(weight, operation=output.name, kind=spec.type, parameter=key))
    order: list[str] = [key for key in ("x", "y", *_COMPUTED.get(spec.type, ())) if key in tensors]
    if not order or len(order) != len(tensors):
        raise UnknownOperationError(f"{label} takes computed inputs other than x and y, which is not supported")
    declared = output.type.tensorType
    shape = tuple(
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in declared.dimensions
    )
    return Operation(
        name=output.name,
        kind=spec.type,
        inputs=tuple(tensors[key] for key in order),
        output=output.name,
        compute=_OPERATIONS[spec.type](_Settings(settings), order),
        float16=declared.dataType == FLOAT16,
        integer=declared.dataType in INTEGERS,
        shape=shape,
    )


class _Settings:
    """The constant inputs of an operation."""

    def __init__(self, constants: Mapping[str, Constant]) -> None:
        self._constants = constants

    def __contains__(self, name: str) -> bool:
        return name in self._constants

    def tensor(self, name: str) -> Tensor:
        value = self._constants[name]
        array = value.values if isinstance(value, StoredWeight) else value
        assert isinstance(array, np.ndarray), name
        return torch.from_numpy(array.astype(np.float32))

    def number(self, name: str, default: float) -> float:
        return float(self.tensor(name)) if name in self else default

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(int(value) for value in self.tensor(name).flatten()) if name in self else default

    def text(self, name: str, default: str) -> str:
        return str(self._constants.get(name, default))


_Builder = Callable[[_Settings, list[str]], Compute]


def _conv(settings: _Settings, _order: list[str]) -> Compute:
    weight = settings.tensor("weight")
    bias = settings.tensor("bias") if "bias" in settings else None
    stride, dilation = settings.integers("strides", (1, 1)), settings.integers("dilations", (1, 1))
    (groups,) = settings.integers("groups", (1,))
    pad_type, fixed = settings.text("pad_type", "valid"), settings.integers("pad", (0, 0, 0, 0))
    if pad_type not in ("valid", "custom", "same", "same_lower"):
        raise UnknownOperationError(f"a convolution padded by {pad_type!r} is not supported")

    def compute(rounded: Rounding, x_bchw: Tensor) -> Tensor:
        padding = fixed if pad_type == "custom" else (0, 0, 0, 0)
        if pad_type.startswith("same"):
            lower, kernel = pad_type == "same_lower", weight.shape[2:]
            padding = ops.same_padding(x_bchw.shape[2:], kernel, stride, dilation, lower=lower)
        return ops.convolution(
            rounded, x_bchw, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    return compute


def _instance_norm(settings: _Settings, _order: list[str]) -> Compute:
    gamma = settings.tensor("gamma") if "gamma" in settings else torch.ones(())
    beta = settings.tensor("beta") if "beta" in settings else torch.zeros(())
    epsilon = settings.number("epsilon", 1e-5)
    return lambda rounded, x: ops.instance_norm(rounded, x, gamma, beta, epsilon)


def _batch_norm(settings: _Settings, _order: list[str]) -> Compute:
    gamma = settings.tensor("gamma") if "gamma" in settings else torch.ones(())
    beta = settings.tensor("beta") if "beta" in settings else torch.zeros(())
    mean, variance, epsilon = settings.tensor("mean"), settings.tensor("variance"), settings.number("epsilon", 1e-5)
    return lambda rounded, x: ops.batch_norm(rounded, x, gamma, beta, mean, rounded(variance), epsilon)


def _elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> _Builder:
    """Make a builder for an operation on two tensors, or a tensor and a constant, in the order x, y; they broadcast."""

    def build(settings: _Settings, order: list[str]) -> Compute:
        if order == ["x", "y"]:
            return lambda _rounded, x, y: function(x, y)
        constant = settings.tensor("y" if order == ["x"] else "x")
        if order == ["x"]:
            return lambda rounded, x: function(x, rounded(constant))
        return lambda rounded, y: function(rounded(constant), y)

    return build


def _of_one(function: Callable[[Tensor], Tensor]) -> _Builder:
    return lambda _settings, _order: lambda _rounded, x: function(x)


def _cast(settings: _Settings, _order: list[str]) -> Compute:
    if settings.text("dtype", "") not in ("fp16", "fp32", "int32", "int16", "uint16"):
        raise UnknownOperationError(f"a cast to {settings.text('dtype', 'nothing')} is not supported")
    # It rounds to the declared type of its result, as every operation does.
    return lambda _rounded, x: x


def _upsample(settings: _Settings, _order: list[str]) -> Compute:
    vertical, horizontal = (settings.number(f"scale_factor_{side}", 1) for side in ("height", "width"))
    return lambda _rounded, x: ops.upsample_nearest(x, vertical, horizontal)


def _pad(settings: _Settings, _order: list[str]) -> Compute:
    padding = settings.integers("pad", ())
    if any(padding[:-4]):
        raise UnknownOperationError("padding of batch or channels is not supported")
    mode, value = settings.text("mode", "constant"), settings.number("constant_val", 0)
    return lambda _rounded, x: ops.pad(x, (0, 0, 0, 0, *padding)[-4:], mode, value)


def _slice_by_index(settings: _Settings, order: list[str]) -> Compute:
    begin, fixed = settings.integers("begin", ()), settings.integers("end", ())
    none = (0,) * len(begin)
    stride = settings.integers("stride", (1,) * len(begin))
    from_first, to_last = (settings.integers(f"{side}_mask", none) for side in ("begin", "end"))
    if any(settings.integers("squeeze_mask", none)):
        raise UnknownOperationError("a slice that drops a dimension is not supported")
    if "end" not in order and len(fixed) != len(begin):
        raise UserError("a slice has no end")

    def compute(_rounded: Rounding, x: Tensor, end: Tensor | None = None) -> Tensor:
        bounds = fixed if end is None else tuple(int(side) for side in end)
        kept = tuple(
            slice(None if first else low, None if last else high, step)
            for low, high, step, first, last in zip(begin, bounds, stride, from_first, to_last, strict=True)
        )
        return x[kept]

    return compute


def _clip(settings: _Settings, _order: list[str]) -> Compute:
    low, high = settings.number("alpha", 0), settings.number("beta", 1)
    return lambda _rounded, x: x.clamp(low, high)


def _leaky_relu(settings: _Settings, _order: list[str]) -> Compute:
    alpha = settings.number("alpha", 0.01)
    return lambda _rounded, x: torch.where(x < 0, alpha * x, x)


_PRUNED_AND_COMPRESSED = ("constexpr_lut_to_sparse", "constexpr_sparse_blockwise_shift_scale")
_COMPUTED = {"slice_by_index": ("end",)}
"""Operation -> inputs besides x and y that may be computed."""

_OPERATIONS: dict[str, _Builder] = {
    "conv": _conv,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "add": _elementwise(torch.add),
    "sub": _elementwise(torch.sub),
    "mul": _elementwise(torch.mul),
    "real_div": _elementwise(torch.div),
    "floor_div": _elementwise(torch.floor_divide),
    "maximum": _elementwise(torch.maximum),
    "minimum": _elementwise(torch.minimum),
    "relu": _of_one(torch.relu),
    "tanh": _of_one(torch.tanh),
    "sigmoid": _of_one(torch.sigmoid),
    "identity": _of_one(lambda x: x),
    "cast": _cast,
    "clip": _clip,
    "leaky_relu": _leaky_relu,
    "pad": _pad,
    "shape": _of_one(lambda x: torch.tensor(x.shape, dtype=torch.float32)),
    "slice_by_index": _slice_by_index,
    "upsample_nearest_neighbor": _upsample,
}
