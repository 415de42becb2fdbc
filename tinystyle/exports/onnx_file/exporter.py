"""Writes a network as an ONNX file that takes and returns an RGB image in 0..255. The same model gives the same bytes.

The file is small: it has short names, and neither doc strings nor shapes of intermediate results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinystyle import __version__
from tinystyle.coreml.exporter.metadata import INPUT, LICENSE, OUTPUT, SHARES, lineage_text, title
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.exports.extras import require
from tinystyle.exports.trace import trace
from tinystyle.model_file import LoadedModel, LoadedStyles
from tinystyle.nets.styled import second_input

__all__ = ["write"]

OPSET, IR_VERSION = 13, 7
"""Of ONNX 1.8 (2020), the first whose integers have a scale for each channel: ONNX Runtime reads it from
1.6 on."""
_SHORTENED = 16
"""Characters of a hash in the lineage, which is whole in the model card."""


def write(model: LoadedModel | LoadedStyles, *, bits: int, sizes: ImageSizes, compute: str, out: Path) -> None:
    """Convert a model and write it, atomically.

    Args:
        model: network to convert; one of many styles takes the share of each as a second input, in the order of the entry
            `styles` of the metadata.
        bits: bits per weight of a convolution: 32, 16 or 8.
        sizes: image sizes that the file takes; of several or a range, both sides are free in the graph, and the
            metadata say which are meant.
        compute: float16 or float32.
        out: path that ends in .onnx.

    Raises:
        UserError: onnx is not installed, or the network has an operation that is not translated.
    """
    require("onnx", "an .onnx file")
    storage.write_bytes(out, _model(model, bits, sizes, compute).SerializeToString(deterministic=True))


def _model(model: LoadedModel | LoadedStyles, bits: int, sizes: ImageSizes, compute: str) -> Any:
    from onnx import TensorProto, helper

    from tinystyle.exports.onnx_file.graph import Graph

    network = model.in_file
    shapes = dict(zip([SHARES], (list(each.shape) for each in second_input(network)), strict=False))
    halved = compute == "float16"
    graph = Graph(bits, np.float16 if halved else np.float32, model.network.stride if sizes.kind == "ranged" else None)
    graph.any_side(INPUT)
    inputs = [INPUT, *shapes]
    cast = [graph.append("Cast", name, to=TensorProto.FLOAT16) for name in inputs] if halved else inputs
    result = _translate(graph, network, cast)
    # What the last operation gives is the output.
    for node in graph.nodes:
        node.output[:] = [OUTPUT if name == result and not halved else name for name in node.output]
    if halved:
        graph.append("Cast", result, output=OUTPUT, to=TensorProto.FLOAT)
    width, height = sizes.default if sizes.kind == "fixed" else ("width", "height")
    declared = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, height, width]) for name in (INPUT, OUTPUT)
    ]
    for value in declared:
        value.type.denotation = "IMAGE"
    shares = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "tinystyle", [declared[0], *shares], declared[1:], graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tinystyle",
        producer_version=__version__,
    )
    helper.set_model_props(proto, _metadata(model, sizes))
    return proto


def _translate(graph: Any, network: torch.nn.Module, inputs: list[str]) -> str:
    """Append a network to a graph, whose inputs have these names, and return the name of its result."""
    from tinystyle.exports.onnx_file.operations import translate

    side = 16 * int(getattr(network, "stride", 4))
    program = trace(network, (torch.zeros(1, 3, side, side), *second_input(network)))
    signature, names = program.graph_signature, iter(inputs)
    stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in stored:
                graph.parameter(node, program.state_dict[stored[node.name]].detach().numpy())
            elif node.name in signature.user_inputs:
                graph.name(node, next(names))
            else:  # a tensor constant
                graph.parameter(node, program.constants[signature.inputs_to_lifted_tensor_constants[node.name]].numpy())
        elif node.op == "call_function":
            graph.name(node, translate(graph, node))
    (result,) = program.graph.output_node().args[0]
    return str(graph.value(result))


def _metadata(model: LoadedModel | LoadedStyles, sizes: ImageSizes) -> dict[str, str]:
    separator = ".." if sizes.kind == "ranged" else ","
    return {
        "description": f"tinystyle {title(model)}: stylizes an image",
        "license": LICENSE,
        "lineage": lineage_text(model.lineage, _SHORTENED),
        **({"styles": ",".join(model.names)} if model.names else {}),
        "sizes": separator.join(f"{width}x{height}" for width, height in sizes.choices),
        # ONNX's own words for what the numbers of an image mean, which Windows ML reads.
        "Image.BitmapPixelFormat": "Rgb8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }
