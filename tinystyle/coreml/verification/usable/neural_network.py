"""The frame of a neural network: what its layers declare, apart from what they compute.

Sources: the comments in NeuralNetwork.proto, and NeuralNetworkValidator.cpp and NeuralNetworkLayerValidator.cpp of
coremltools.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["neural_network_faults"]

_IOS11_LAYERS = {
    "convolution", "pooling", "activation", "innerProduct", "embedding", "batchnorm", "mvn", "l2normalize", "softmax",
    "lrn", "crop", "padding", "upsample", "unary", "add", "multiply", "average", "scale", "bias", "max", "min", "dot",
    "reduce", "loadConstant", "reshape", "flatten", "permute", "concat", "split", "sequenceRepeat", "reorganizeData",
    "slice",
}  # fmt: skip
_RANK5, _RANK4 = 0, 1


def neural_network_faults(spec: Any) -> Iterator[str]:
    """Yield what is wrong with the network in a Model protobuf of one image to one image."""
    network, image = spec.neuralNetwork, spec.description.input[0].name
    since, why = _needed_version(network)
    if spec.specificationVersion < since:
        yield f"it is of specification {spec.specificationVersion}, and {why} came with {since}"
    if network.HasField("updateParams"):
        yield "it has parameters for training on devices"
    for mapping in (network.arrayInputShapeMapping, network.imageInputShapeMapping):
        if mapping not in (_RANK5, _RANK4):
            yield f"it maps its input to tensors in a way that does not exist ({mapping})"
    for step in network.preprocessing:
        if step.featureName not in ("", image):
            yield f"it has preprocessing for {step.featureName!r}, and its input is {image!r}"
    if len(network.preprocessing) > 1:
        yield "it has more than one preprocessing for its one input"
    names: set[str] = set()
    for layer in network.layers:
        if layer.name in names:
            yield f"it has two layers named {layer.name!r}"
        names.add(layer.name)
    yield from _flow_faults(network, image)
    for layer in network.layers:
        yield from _layer_faults(layer)


def _needed_version(network: Any) -> tuple[int, str]:
    """Return the first version of the specification that has all that the network uses, and what needs it."""
    needed = [(1, "neural networks")]
    if network.imageInputShapeMapping != _RANK5 or network.arrayInputShapeMapping != _RANK5:
        needed.append((4, "its mapping of images to tensors"))
    for layer in network.layers:
        kind = layer.WhichOneof("layer")
        if kind not in _IOS11_LAYERS:
            needed.append((4, f"the layer {kind}"))
        for name, weight in _weights(layer):
            if weight.HasField("quantization"):
                needed.append((3, f"the quantized {name} of layer {layer.name!r}"))
            elif weight.float16Value:
                needed.append((2, f"the float16 {name} of layer {layer.name!r}"))
    return max(needed)


def _weights(layer: Any) -> Iterator[tuple[str, Any]]:
    for descriptor, value in getattr(layer, layer.WhichOneof("layer")).ListFields():
        if descriptor.message_type is not None and descriptor.message_type.name == "WeightParams":
            yield descriptor.name, value


def _flow_faults(network: Any, image: str) -> Iterator[str]:
    """Yield results that are given twice, and ranks that contradict each other."""
    # None of the layers that the evaluator knows changes the rank of the image.
    rank = 4 if network.imageInputShapeMapping == _RANK4 else 5
    known = {image}
    for layer in network.layers:
        for name in layer.output:
            if name in known and layer.WhichOneof("layer") != "copy":
                yield f"its layer {layer.name!r} gives {name!r}, which is given already"
            known.add(name)
        for names, tensors in ((layer.input, layer.inputTensor), (layer.output, layer.outputTensor)):
            if len(tensors) and len(tensors) != len(names):
                yield f"its layer {layer.name!r} declares {len(tensors)} tensors for {len(names)}"
                continue
            for name, tensor in zip(names, tensors, strict=False):
                if tensor.rank != rank or len(tensor.dimValue) not in (0, rank):
                    yield f"its layer {layer.name!r} declares {name!r} with {tensor.rank} dimensions, not {rank}"


def _layer_faults(layer: Any) -> Iterator[str]:
    label, kind = f"its layer {layer.name!r}", layer.WhichOneof("layer")
    part = getattr(layer, kind)
    if layer.isUpdatable or any(weight.isUpdatable for _, weight in _weights(layer)):
        yield f"{label} is declared to be trained on devices"
    if kind == "convolution":
        if part.WhichOneof("ConvolutionPaddingType") is None:
            yield f"{label} does not say how it is padded"
        if not part.hasBias and part.HasField("bias"):
            yield f"{label} has a bias that it does not use"
        sides = (part.kernelSize, part.stride, part.dilationFactor)
        if any(len(pair) not in (0, 2) or 0 in pair for pair in sides) or len(part.outputShape):
            yield f"{label} has a kernel, stride, dilation or output shape that is not possible"
    precisions = {_precision(weight) for _, weight in _weights(layer)}
    if kind in ("batchnorm", "convolution") and {16, 32} <= precisions:
        yield f"{label} mixes weights of float16 and float32"


def _precision(weight: Any) -> int:
    return 0 if weight.HasField("quantization") else 16 if weight.float16Value else 32
