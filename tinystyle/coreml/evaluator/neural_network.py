"""The layers of a Core ML neural network (`.mlmodel`) as operations, with one function per kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from tinystyle.coreml.evaluator import operations as ops
from tinystyle.coreml.evaluator.operations import Compute, Operation, Rounding, UnknownOperationError
from tinystyle.coreml.evaluator.stored_weights import StoredWeight, decode_weight_params

__all__ = ["read_neural_network"]


def read_neural_network(network: Any, image: str) -> tuple[list[Operation], list[StoredWeight]]:
    """Read the operations, in order of execution, and the weights that they contain.

    Args:
        network: `NeuralNetwork` protobuf.
        image: name of the model's input.

    Raises:
        UnknownOperationError: a kind of layer, or a setting of one, is not supported.
    """
    operations = [*_preprocessing(network, image)]
    weights: list[StoredWeight] = []
    for layer in network.layers:
        kind = layer.WhichOneof("layer") or "nothing"
        if kind not in _LAYERS or len(layer.output) != 1:
            raise UnknownOperationError(f"layer '{layer.name}' is a {kind}, which is not supported")
        part = getattr(layer, kind)
        own: dict[str, StoredWeight] = {}
        compute = _LAYERS[kind](part, own)
        weights += [
            replace(weight, operation=layer.name, kind=kind, parameter=parameter) for parameter, weight in own.items()
        ]
        operations.append(Operation(layer.name, kind, tuple(layer.input), layer.output[0], compute))
    return operations, weights


def _preprocessing(network: Any, image: str) -> list[Operation]:
    operations = []
    for step in network.preprocessing:
        if step.WhichOneof("preprocessor") != "scaler":
            raise UnknownOperationError(f"preprocessing by {step.WhichOneof('preprocessor')} is not supported")
        scaler = step.scaler
        bias = torch.tensor([scaler.redBias, scaler.greenBias, scaler.blueBias]).reshape(3, 1, 1)
        scale = scaler.channelScale
        if scale != 1 or bool(bias.any()):
            compute = _scaler(scale, bias)
            operations.append(Operation("preprocessing", "scaler", (image,), image, compute))
    return operations


def _scaler(scale: float, bias: Tensor) -> Compute:
    return lambda rounded, x: rounded(x * rounded(torch.tensor(scale))) + rounded(bias)


_Own = dict[str, StoredWeight]


def _decode(field: Any, shape: tuple[int, ...], own: _Own, parameter: str) -> Tensor:
    own[parameter] = decode_weight_params(field, shape)
    return torch.from_numpy(own[parameter].values.astype("float32"))


def _convolution(part: Any, own: _Own) -> Compute:
    if part.isDeconvolution:
        raise UnknownOperationError("deconvolution is not supported")
    kernel, stride = _pair(part.kernelSize, 3), _pair(part.stride, 1)
    dilation, groups = _pair(part.dilationFactor, 1), part.nGroups or 1
    weight = _decode(part.weights, (part.outputChannels, part.kernelChannels, *kernel), own, "weight")
    bias = _decode(part.bias, (part.outputChannels,), own, "bias") if part.hasBias else None
    border = part.valid.paddingAmounts.borderAmounts
    fixed = tuple(side for edge in border for side in (edge.startEdgeSize, edge.endEdgeSize)) or (0, 0, 0, 0)
    same, lower = part.WhichOneof("ConvolutionPaddingType") == "same", part.same.asymmetryMode == 1

    def compute(rounded: Rounding, x_bchw: Tensor) -> Tensor:
        padding = ops.same_padding(x_bchw.shape[2:], kernel, stride, dilation, lower=lower) if same else fixed
        return ops.convolution(
            rounded, x_bchw, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    return compute


def _pair(values: Any, default: int) -> tuple[int, int]:
    vertical, horizontal = values or (default, default)
    return int(vertical), int(horizontal)


def _batchnorm(part: Any, own: _Own) -> Compute:
    if part.computeMeanVar and not part.instanceNormalization:
        raise UnknownOperationError("a norm over the batch is not supported")
    shape, epsilon = (part.channels,), part.epsilon or 1e-5
    gamma, beta = (_decode(getattr(part, name), shape, own, name) for name in ("gamma", "beta"))
    if part.computeMeanVar:
        return lambda rounded, x: ops.instance_norm(rounded, x, gamma, beta, epsilon)
    mean, variance = (_decode(getattr(part, name), shape, own, name) for name in ("mean", "variance"))
    return lambda rounded, x: ops.batch_norm(rounded, x, gamma, beta, mean, rounded(variance), epsilon)


def _activation(part: Any, _own: _Own) -> Compute:
    kind = part.WhichOneof("NonlinearityType")
    settings: Any = getattr(part, kind) if kind else None
    simple: dict[str, Callable[[Tensor], Tensor]] = {
        "ReLU": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "linear": lambda x: settings.alpha * x + settings.beta,
        "leakyReLU": lambda x: torch.where(x < 0, settings.alpha * x, x),
        "scaledTanh": lambda x: settings.alpha * torch.tanh(settings.beta * x),
    }
    if kind not in simple:
        raise UnknownOperationError(f"the activation {kind} is not supported")
    return lambda _rounded, x: simple[kind](x)


def _add(part: Any, _own: _Own) -> Compute:
    alpha = torch.tensor(part.alpha)
    return lambda rounded, *xs: reduce(torch.add, xs) if len(xs) > 1 else xs[0] + rounded(alpha)


def _multiply(part: Any, _own: _Own) -> Compute:
    alpha = torch.tensor(part.alpha)
    return lambda rounded, *xs: reduce(torch.mul, xs) if len(xs) > 1 else xs[0] * rounded(alpha)


def _upsample(part: Any, _own: _Own) -> Compute:
    if part.mode != part.NN or len(part.fractionalScalingFactor):
        raise UnknownOperationError("upsampling other than to the nearest pixel by whole factors is not supported")
    vertical, horizontal = _pair(part.scalingFactor, 1)
    return lambda _rounded, x: ops.upsample_nearest(x, vertical, horizontal)


def _padding(part: Any, _own: _Own) -> Compute:
    kind = part.WhichOneof("PaddingType")
    mode = {"constant": "constant", "reflection": "reflect", "replication": "replicate"}.get(kind or "", str(kind))
    border = part.paddingAmounts.borderAmounts
    padding = [side for edge in border for side in (edge.startEdgeSize, edge.endEdgeSize)] or [0, 0, 0, 0]
    return lambda _rounded, x: ops.pad(x, padding, mode, part.constant.value)


def _slice(part: Any, _own: _Own) -> Compute:
    axis = part.axis - 3  # axis of (channels, height, width), counted from the end
    kept = slice(part.startIndex, part.endIndex, part.stride)
    whole = (slice(None),) * (-axis - 1)
    return lambda _rounded, x: x[(..., kept, *whole)]


def _scale(part: Any, own: _Own) -> Compute:
    scale = _decode(part.scale, tuple(part.shapeScale), own, "scale")
    bias = _decode(part.bias, tuple(part.shapeBias), own, "bias") if part.hasBias else torch.zeros(())
    scale, bias = (x.reshape(-1, 1, 1) if x.dim() == 1 else x for x in (scale, bias))
    return lambda rounded, x: rounded(x * rounded(scale)) + rounded(bias)


def _bias(part: Any, own: _Own) -> Compute:
    bias = _decode(part.bias, tuple(part.shape), own, "bias")
    bias = bias.reshape(-1, 1, 1) if bias.dim() == 1 else bias
    return lambda rounded, x: x + rounded(bias)


def _broadcast(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, _Own], Compute]:
    return lambda _part, _own: lambda _rounded, *xs: reduce(function, xs)


def _simple(function: Callable[[Tensor], Tensor]) -> Callable[[Any, _Own], Compute]:
    return lambda _part, _own: lambda _rounded, x: function(x)


_LAYERS: dict[str, Callable[[Any, _Own], Compute]] = {
    "convolution": _convolution,
    "batchnorm": _batchnorm,
    "activation": _activation,
    "add": _add,
    "multiply": _multiply,
    "upsample": _upsample,
    "padding": _padding,
    "slice": _slice,
    "scale": _scale,
    "bias": _bias,
    "addBroadcastable": _broadcast(torch.add),
    "multiplyBroadcastable": _broadcast(torch.mul),
    "subtractBroadcastable": _broadcast(torch.sub),
    "divideBroadcastable": _broadcast(torch.div),
    "tanh": _simple(torch.tanh),
    "copy": _simple(lambda x: x),
}
