"""Files with all the right weights in a neural network that is none: its layers, their frame, and its bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.coreml import read_spec
from tests.support.mutilations import Mutilation, flipped, operation, specification, specification_file, without

pytestmark = pytest.mark.slow  # each is verified, in half a second

OTHER = "other than the weights"


def layer(kind: str, edit: Callable[[Any], object], number: int = 0) -> Mutilation:
    """Edit a layer of a network."""
    return specification(lambda spec: edit(operation(spec, kind, number)))


def convolution(edit: Callable[[Any], object], number: int = 0) -> Mutilation:
    return layer("convolution", lambda part: edit(part.convolution), number)


def network(edit: Callable[[Any], object]) -> Mutilation:
    return specification(lambda spec: edit(spec.neuralNetwork))


def appended(data: bytes) -> Mutilation:
    return lambda path: specification_file(path).write_bytes(specification_file(path).read_bytes() + data) and None


def twice(path: Path) -> None:
    specification_file(path).write_bytes(2 * specification_file(path).read_bytes())


def regressor(path: Path) -> None:
    spec = read_spec(path)
    layers = list(spec.neuralNetwork.layers)
    spec.neuralNetworkRegressor.layers.extend(layers)
    path.write_bytes(spec.SerializeToString())


def mapped(number: int) -> Mutilation:
    return network(lambda part: setattr(part, "imageInputShapeMapping", number))


def mixed(part: Any) -> None:
    part.batchnorm.beta.ClearField("floatValue")
    part.batchnorm.beta.float16Value = b"\0" * 18


CASES: dict[str, tuple[str, Mutilation, str | None]] = {
    # whole ones
    "layers of other names": (
        "mlmodel-8",
        network(lambda part: [setattr(one, "name", f"layer {i}") for i, one in enumerate(part.layers)]),
        None,
    ),
    "declared ranks": ("mlmodel-8", layer("activation", lambda part: part.outputTensor.add(rank=4)), None),
    # layers
    "another factor": ("mlmodel-4", layer("multiply", lambda part: setattr(part.multiply, "alpha", 1 / 200)), OTHER),
    "another factor at the end": (
        "mlmodel-4",
        layer("multiply", lambda part: setattr(part.multiply, "alpha", 126), -1),
        OTHER,
    ),
    "another epsilon": ("mlmodel-4", layer("batchnorm", lambda part: setattr(part.batchnorm, "epsilon", 0.1)), OTHER),
    "another activation": (
        "mlmodel-8",
        layer("activation", lambda part: part.activation.sigmoid.SetInParent(), 3),
        OTHER,
    ),
    "another border": ("mlmodel-4", layer("padding", lambda part: part.padding.replication.SetInParent()), OTHER),
    "another upsampling": (
        "mlmodel-8",
        layer("upsample", lambda part: setattr(part.upsample, "mode", 1)),
        "nearest pixel",
    ),
    "another crop": (
        "mlmodel-4",
        layer("slice", lambda part: setattr(part.slice, "startIndex", 15)),
        "it makes one of",
    ),
    "a shifted crop": (
        "mlmodel-4",
        layer("slice", lambda p: setattr(p.slice, "startIndex", 15) or setattr(p.slice, "endIndex", p.slice.endIndex - 1)),
        OTHER,
    ),
    "no activation": ("mlmodel-4", without("activation", 2), OTHER),
    "no residual sum": ("mlmodel-8", without("add"), OTHER),
    "another padding": ("mlmodel-8", convolution(lambda part: part.same.SetInParent(), 1), f"{OTHER}|fails"),
    "no padding": (
        "mlmodel-32",
        convolution(lambda part: part.ClearField("valid")),
        "does not say how it is padded|fails",
    ),
    "a deconvolution": ("mlmodel-8", convolution(lambda part: setattr(part, "isDeconvolution", True)), "deconvolution"),
    "a bias that is used": ("mlmodel-8", convolution(lambda part: setattr(part, "hasBias", True)), "stored as nothing"),
    "a bias that is not": ("mlmodel-8", convolution(lambda part: part.bias.floatValue.append(1)), "does not use"),
    "a kernel of one side": ("mlmodel-8", convolution(lambda part: part.kernelSize.pop() and None), "damaged"),
    "other groups": ("mlmodel-8", convolution(lambda part: setattr(part, "nGroups", 3), 1), "fails"),
    "other channels": ("mlmodel-8", convolution(lambda part: setattr(part, "kernelChannels", 4)), "is stored in"),
    # weights of layers
    "weights twice": (
        "mlmodel-32",
        convolution(lambda p: setattr(p.weights, "float16Value", b"\0" * 4374)),
        "stored as floatValue and",
    ),
    "weights of two kinds": (
        "mlmodel-8",
        convolution(lambda part: part.weights.floatValue.append(1)),
        "stored as floatValue and",
    ),
    "weights of integers": (
        "mlmodel-32",
        convolution(lambda p: setattr(p.weights, "int8RawValue", b"\0")),
        "stored as",
    ),
    "no weights": ("mlmodel-32", convolution(lambda part: part.weights.Clear()), "stored as nothing"),
    "a byte more": (
        "mlmodel-8",
        convolution(lambda p: setattr(p.weights, "rawValue", p.weights.rawValue + b"\0")),
        "is stored in",
    ),
    "a byte less": (
        "mlmodel-4",
        convolution(lambda p: setattr(p.weights, "rawValue", p.weights.rawValue[:-1])),
        "is stored in",
    ),
    "one bit less": (
        "mlmodel-8",
        convolution(lambda p: setattr(p.weights.quantization, "numberOfBits", 7)),
        "is stored in",
    ),
    "a scale less": (
        "mlmodel-8",
        convolution(lambda p: p.weights.quantization.linearQuantization.scale.pop() and None),
        "scales",
    ),
    "no quantization": ("mlmodel-8", convolution(lambda part: part.weights.ClearField("quantization")), "does not fit"),
    "weights to be trained": (
        "mlmodel-32",
        convolution(lambda p: setattr(p.weights, "isUpdatable", True)),
        "to be trained",
    ),
    "a norm of two precisions": (
        "mlmodel-32",
        layer("batchnorm", mixed),
        "trained as|mixes",
    ),
    # the frame of a network
    "two layers of a name": (
        "mlmodel-8",
        network(lambda n: setattr(n.layers[1], "name", n.layers[0].name)),
        "two layers named",
    ),
    "a result twice": (
        "mlmodel-8",
        network(lambda n: n.layers.add().CopyFrom(n.layers[4])),
        "two layers named|given already",
    ),
    "a layer to be trained": (
        "mlmodel-32",
        network(lambda n: setattr(n.layers[2], "isUpdatable", True)),
        "to be trained",
    ),
    "a rank of 5": ("mlmodel-8", layer("activation", lambda p: p.inputTensor.add(rank=5)), "dimensions|coremltools"),
    "ranks too many": (
        "mlmodel-8",
        layer("activation", lambda p: p.inputTensor.extend([p.inputTensor.add()])),
        "2 tensors for 1",
    ),
    "a mapping that is none": ("mlmodel-8", mapped(7), "does not exist"),
    "parameters of training": ("mlmodel-8", network(lambda n: n.updateParams.SetInParent()), "for training on devices"),
    "another preprocessing": (
        "mlmodel-4",
        network(lambda n: setattr(n.preprocessing[0].scaler, "channelScale", 2)),
        OTHER,
    ),
    "a bias before": ("mlmodel-4", network(lambda n: setattr(n.preprocessing[0].scaler, "redBias", -40)), OTHER),
    "preprocessing of nothing": (
        "mlmodel-8",
        network(lambda n: setattr(n.preprocessing[0], "featureName", "x")),
        "preprocessing for",
    ),
    "preprocessing twice": (
        "mlmodel-8",
        network(lambda n: n.preprocessing.add().CopyFrom(n.preprocessing[0])),
        "more than one",
    ),
    "a mean image": (
        "mlmodel-8",
        network(lambda n: n.preprocessing[0].meanImage.SetInParent()),
        "preprocessing by meanImage",
    ),
    "no layers": ("mlmodel-8", network(lambda n: n.ClearField("layers")), "nothing computes"),
    "a regressor": ("mlmodel-8", regressor, "type neuralNetworkRegressor"),
    # bytes
    "a field that is not known": ("mlmodel-8", appended(b"\xf8\x7f\x01"), "field of number 2047"),
    "text after it": ("mlmodel-8", appended(b"hello"), "damaged|does not know"),
    "zeros after it": ("mlmodel-8", appended(bytes(16)), "damaged"),
    "twice": ("mlmodel-8", twice, "does not take one image"),
    "its first half": (
        "mlmodel-8",
        lambda path: path.write_bytes(path.read_bytes()[:8000]) and None,
        "damaged|holds no model",
    ),
    **{
        f"byte {position} of {base}": (base, flipped(position), ".")
        for base, positions in (("mlmodel-8", (5000, 9000, 12000)), ("mlmodel-4", (4000, 7000)))
        for position in positions
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_neural_network_is_judged_as_the_tools_judge_it(judge: Callable[..., None], name: str) -> None:
    judge(*CASES[name])
