"""Translates ATen operations of a traced network to ONNX operators of opset 13, one function for each.

Sources: the documentation of ATen's schemas in torch, and ONNX's of its operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tinystyle.errors import UserError

if TYPE_CHECKING:
    from tinystyle.exports.onnx_file.graph import Graph

__all__ = ["translate"]

_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "constant": "constant"}
_TO_THE_END = int(np.iinfo(np.int64).max)


def translate(graph: Graph, node: Any) -> str:
    """Append what a node of a traced network does to an ONNX graph, and return the name of its result.

    Raises:
        UserError: there is no translation of the operation.
    """
    function = _OPERATIONS.get(node.target)
    if function is None:
        raise UserError(f"an ONNX file cannot hold the operation {node.target} of this network; export it to Core ML")
    return function(graph, *node.args, **node.kwargs)


def _binary(operator: str) -> Callable[..., str]:
    def append(graph: Graph, a: Any, b: Any) -> str:
        return graph.append(operator, graph.value(a), graph.value(b))

    return append


def _unary(operator: str) -> Callable[..., str]:
    def append(graph: Graph, x: Any) -> str:
        return graph.append(operator, graph.value(x))

    return append


def _pad(graph: Graph, x: Any, pad: list[int], mode: str = "constant", value: float | None = None) -> str:
    # ATen: left, right, top, bottom; ONNX: the beginnings of all four axes, then their ends.
    assert len(pad) == 4
    assert not value
    left, right, top, bottom = pad
    pads = graph.padding([0, 0, top, left], [0, 0, bottom, right])
    return graph.append("Pad", graph.value(x), pads, mode=_PAD_MODES[mode])


def _conv2d(
    graph: Graph,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    groups: int = 1,
) -> str:
    inputs = [graph.value(x), graph.weight(weight), *([graph.value(bias)] if bias is not None else [])]
    attributes: dict[str, Any] = {"pads": [*padding, *padding], "strides": list(stride)}
    if list(dilation) != [1, 1]:
        attributes["dilations"] = list(dilation)
    if groups != 1:
        attributes["group"] = groups
    return graph.append("Conv", *inputs, **attributes)


def _instance_norm(
    graph: Graph,
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> str:
    del running_mean, running_var, momentum, cudnn
    assert use_input_stats
    # ONNX's norm has scale and shift; one whose network computes them from its input has ones and zeros.
    channels = x.meta["val"].shape[1]
    scale, shift = (
        graph.value([number] * channels if given is None else given) for given, number in ((weight, 1.0), (bias, 0.0))
    )
    return graph.append("InstanceNormalization", graph.value(x), scale, shift, epsilon=float(eps))


def _upsample(graph: Graph, x: Any, output_size: Any, scale_factors: list[float]) -> str:
    assert output_size is None
    scales = graph.constant(np.array([1, 1, *scale_factors], np.float32))
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.append("Resize", graph.value(x), "", scales, **attributes)


def _slice(graph: Graph, x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> str:
    assert step == 1
    ends = graph.end(dim, _TO_THE_END if end is None else end)
    starts, axes = (graph.constant(np.array([number], np.int64)) for number in (start or 0, dim))
    return graph.append("Slice", graph.value(x), starts, ends, axes)


_ATEN = torch.ops.aten
_OPERATIONS: dict[Any, Callable[..., str]] = {
    _ATEN.add.Tensor: _binary("Add"),
    _ATEN.sub.Tensor: _binary("Sub"),
    _ATEN.mul.Tensor: _binary("Mul"),
    _ATEN.div.Tensor: _binary("Div"),
    _ATEN.relu.default: _unary("Relu"),
    _ATEN.relu_.default: _unary("Relu"),
    _ATEN.tanh.default: _unary("Tanh"),
    _ATEN.sigmoid.default: _unary("Sigmoid"),
    _ATEN.pad.default: _pad,
    _ATEN.conv2d.default: _conv2d,
    _ATEN.instance_norm.default: _instance_norm,
    _ATEN.upsample_nearest2d.vec: _upsample,
    _ATEN.slice.Tensor: _slice,
}
