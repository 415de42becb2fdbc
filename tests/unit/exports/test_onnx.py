"""ONNX files: what is written, and what verification finds in files that were changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from PIL import Image

from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.exports.export import export_model
from tinystyle.exports.onnx_file.saved_file import read
from tinystyle.exports.verify import verify
from tinystyle.model_file import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Exported = Callable[..., Path]
Photos = list[tuple[str, Image.Image]]
RANGE = "24x24..64x56"


@pytest.mark.parametrize(
    ("bits", "size", "compute", "lowest"),
    [(32, "48x32", None, 110), (16, "48x32", None, 55), (8, "48x32", None, 35), (8, "48x32", "float16", 35),
     (32, "48x32,32x48", None, 110), (32, RANGE, None, 110), (16, RANGE, None, 55)],
)  # fmt: skip
def test_a_file_is_verified(
    exported: Exported, model: LoadedModel, photos: Photos, bits: int, size: str, compute: str | None, lowest: float
) -> None:
    result = verify(exported("onnx", bits, size, compute), model, photos, min_psnr=lowest)
    assert result.failure is None
    assert (result.format, result.bits, result.weights) == ("onnx", bits, 11868)
    assert "Run by ONNX Runtime" in result.paragraph()


def test_onnxruntime_alone_gives_what_the_network_gives_at_every_side(exported: Exported, model: LoadedModel) -> None:
    session = onnxruntime.InferenceSession(exported("onnx", 32, RANGE))
    for width, height in ((24, 24), (25, 41), (63, 30), (47, 55), (64, 56)):
        photo = torch.rand(1, 3, height, width) * 255
        (result,) = session.run(["stylized"], {"image": photo.numpy()})
        with torch.inference_mode():
            assert np.abs(result - model.network(photo).numpy()).max() < 0.01, (width, height)


def test_a_file_is_small_and_says_what_it_is(exported: Exported) -> None:
    path = exported("onnx", 32)
    proto = onnx.load(path)
    assert path.stat().st_size < 52000
    assert not proto.graph.value_info
    assert not proto.doc_string
    assert not any(node.doc_string or node.name for node in proto.graph.node)
    assert proto.producer_name == "tinystyle"
    (image,), (stylized,) = proto.graph.input, proto.graph.output
    assert (image.name, stylized.name) == ("image", "stylized")
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [1, 3, 32, 48]
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    assert properties["Image.BitmapPixelFormat"] == "Rgb8"
    assert properties["lineage"].startswith('{"photos":"aaaaaaaaaaaaaaaa"')
    assert exported("onnx", 16).stat().st_size < 28500
    assert exported("onnx", 8).stat().st_size < 18500


def test_free_sides_have_names(exported: Exported) -> None:
    (image,) = onnx.load(exported("onnx", 8, RANGE)).graph.input
    assert [dim.dim_param for dim in image.type.tensor_type.shape.dim] == ["", "", "height", "width"]


def test_the_same_model_gives_the_same_bytes(exported: Exported, model: LoadedModel, tmp_path: Path) -> None:
    again = tmp_path / "again.onnx"
    export_model(model, bits=8, size=ImageSizes.parse(RANGE), out=again)
    assert again.read_bytes() == exported("onnx", 8, RANGE).read_bytes()


def initializer(proto: Any, number: int) -> Any:
    """The initializer that the convolution of this number takes as its weight, or its indices."""
    node = [node for node in proto.graph.node if node.op_type == "Conv"][number]
    makers = {node.output[0]: node for node in proto.graph.node}
    name = node.input[1] if node.input[1] not in makers else makers[node.input[1]].input[0]
    return next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def change_weight(proto: Any) -> None:
    tensor = initializer(proto, 3)
    values = numpy_helper.to_array(tensor).copy()
    values.ravel()[5] += np.array(3, values.dtype)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def change_scale(proto: Any) -> None:
    tensor = next(t for t in proto.graph.initializer if t.dims == [9] and t.data_type == TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor) * np.float32(1.002)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def change_constant(proto: Any) -> None:
    tensor = next(t for t in proto.graph.initializer if not t.dims and numpy_helper.to_array(t) == 127.5)
    tensor.CopyFrom(numpy_helper.from_array(np.array(127, np.float32), tensor.name))


def exchange_channels(proto: Any) -> None:
    indices = numpy_helper.from_array(np.array([2, 1, 0]), "bgr")
    proto.graph.initializer.append(indices)
    proto.graph.node.append(onnx.helper.make_node("Gather", ["rgb", "bgr"], ["stylized"], axis=1))
    for node in list(proto.graph.node)[:-1]:
        node.output[:] = ["rgb" if name == "stylized" else name for name in node.output]


def edge_padding(proto: Any) -> None:
    pad = next(node for node in proto.graph.node if node.op_type == "Pad")
    pad.attribute[0].s = b"edge"


def another_epsilon(proto: Any) -> None:
    for node in proto.graph.node:
        if node.op_type == "InstanceNormalization":
            node.attribute[0].f = 1e-2


def another_run(proto: Any) -> None:
    next(entry for entry in proto.metadata_props if entry.key == "lineage").value = '{"style":"ffff"}'


def unknown_operator(proto: Any) -> None:
    next(node for node in proto.graph.node if node.op_type == "Tanh").op_type = "Tansh"


def two_inputs(proto: Any) -> None:
    proto.graph.input.append(onnx.helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def other_sizes(proto: Any) -> None:
    next(entry for entry in proto.metadata_props if entry.key == "sizes").value = "64x64"


def one_norm_less(proto: Any) -> None:
    norm = next(node for node in proto.graph.node if node.op_type == "InstanceNormalization")
    norm.op_type = "Identity"
    del norm.input[1:], norm.attribute[:]


@pytest.mark.parametrize(
    ("bits", "change", "words"),
    [
        (32, change_weight, "it holds .*, trained is"),
        (16, change_weight, "it holds .*, trained is"),
        (8, change_weight, "quantization steps from the trained weight"),
        (8, change_scale, "not those of its range|quantization steps"),
        (32, change_constant, "something other than the weights"),
        (16, edge_padding, "something other than the weights"),
        (32, exchange_channels, "something other than the weights"),
        (8, another_epsilon, "something other than the weights"),
        (32, another_run, "it says that it was made from style ffff"),
        (32, unknown_operator, "ONNX's checker refuses it"),
        (32, two_inputs, "is not the share of each style"),
        (32, other_sizes, "its metadata say that it takes 64x64"),
        (32, one_norm_less, "stands where .* is expected"),
    ],
)
def test_a_changed_file_is_not_verified(
    exported: Exported,
    model: LoadedModel,
    gray: Photos,
    tmp_path: Path,
    bits: int,
    change: Callable[[Any], None],
    words: str,
) -> None:
    proto = onnx.load(exported("onnx", bits))
    change(proto)
    path = tmp_path / "changed.onnx"
    path.write_bytes(proto.SerializeToString())
    try:
        failure = verify(path, model, gray, min_psnr=5).failure
    except UserError as error:
        failure = str(error)
    assert failure is not None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(failure)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 99, b"nothing of this kind", None], ids=["empty", "zeros", "text", "cut"]
)
def test_a_damaged_file_is_named(exported: Exported, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "damaged.onnx"
    whole = exported("onnx", 32).read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UserError, match=r"damaged\.onnx: ") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bits": 4}, "an .onnx has 32, 16 or 8"),
        ({"bits": 32, "compute": "float16"}, "computes in float32"),
        ({"bits": 8, "ios": 18}, "leave it out"),
        ({"bits": 8, "size": (50, 30)}, "the nearest is"),
    ],
)
def test_what_is_not_possible_is_said(
    model: LoadedModel, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        export_model(model, **{"size": (48, 32), **options}, out=tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_package_one_sentence_says_how_to_install_it(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinystyle.exports.extras.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"install the extra tinystyle\[onnx\]"):
        export_model(model, bits=8, size=(48, 32), out=tmp_path / "a.onnx")
