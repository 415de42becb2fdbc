import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.coreml import operations_of, read_spec
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel

Export = Callable[..., Path]


@pytest.mark.slow
def test_a_ranged_side_that_is_no_multiple_keeps_its_size(exported: Export) -> None:
    photo = torch.randint(0, 256, (1, 3, 33, 50)).float()
    assert read_model(exported("mlpackage", 32, "32x32..64x64")).run(photo).shape == photo.shape


@pytest.mark.slow
@pytest.mark.parametrize("size", ["48x32", "32x48,48x32", "32x32..64x64"])
def test_operations_of_the_program_depend_on_no_size(exported: Export, size: str) -> None:
    operations = operations_of(exported("mlpackage", 32, size))
    counts = Counter(op.type for op in operations if op.type != "const")
    # No reshape or resize to a number of pixels: upsampling is by a factor, the margin is counted from each end.
    expected = Counter({
        "add": 4, "conv": 12, "instance_norm": 12, "mul": 2, "pad": 1, "relu": 8, "slice_by_index": 2, "tanh": 1,
        "upsample_nearest_neighbor": 2,
    })  # fmt: skip
    if ".." in size:  # the image's own sides, rounded up, to which it is extended, and cropped in the end
        expected += Counter({"shape": 1, "add": 2, "floor_div": 1, "mul": 1, "slice_by_index": 2})
    assert counts == expected
    assert all({"scale_factor_height", "scale_factor_width"} < set(op.inputs) for op in operations if "up" in op.type)
    if size != "48x32":
        for op in operations:
            if op.type != "const" and op.outputs[0].type.tensorType.rank == 4:
                *_, height, width = op.outputs[0].type.tensorType.dimensions
                assert height.WhichOneof("dimension") == width.WhichOneof("dimension") == "unknown"


@pytest.mark.slow
def test_enumerated_and_ranged_sizes_are_declared(exported: Export) -> None:
    image = read_spec(exported("mlpackage", 32, "32x48,48x32")).description.input[0].type.imageType
    assert [(size.width, size.height) for size in image.enumeratedSizes.sizes] == [(32, 48), (48, 32)]
    assert (image.width, image.height) == (32, 48)
    spec = read_spec(exported("mlpackage", 32, "32x32..64x64"))
    image = spec.description.input[0].type.imageType
    for sides in (image.imageSizeRange.widthRange, image.imageSizeRange.heightRange):
        assert (sides.lowerBound, sides.upperBound) == (32, 64)
    assert (image.width, image.height) == (64, 64)
    # An image of any size comes out; Core ML wants that said of the output too.
    assert spec.description.output[0].type.imageType.WhichOneof("SizeFlexibility") == "imageSizeRange"


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((641, 480), "640x480"),
        ((642, 479), "644x480"),
        ((640, 8), "640x20"),
        ((0, -4), "20x20"),
        ((5000, 480), "4096x480"),
        (ImageSizes.parse("640x480,481x640"), "480x640"),
        (ImageSizes.parse("256x256..1921x1920"), "1920x1920"),
    ],
)
def test_sizes_that_are_not_possible_name_the_nearest(
    model: LoadedModel, tmp_path: Path, size: tuple[int, int] | ImageSizes, nearest: str
) -> None:
    with pytest.raises(UserError, match=f"nearest is {nearest}$"):
        export_model(model, format="mlpackage", bits=8, size=size, out=tmp_path / "a.mlpackage")


@pytest.mark.parametrize(
    ("format", "size", "sentence"),
    [
        ("mlmodel", "640x480,480x640", "takes images of one size, not 640x480, 480x640"),
        ("mlmodel", "256x256..512x512", "takes images of one size, not 256x256 to 512x512"),
        ("mlpackage", "640x480,640x480", "contain a size twice"),
        ("mlpackage", "512x512..256x1024", "has a minimum above its maximum"),
        ("mlpackage", ",".join(f"{20 + 4 * i}x20" for i in range(129)), "129 sizes are too many"),
    ],
)
def test_choices_of_sizes_that_are_not_possible(
    model: LoadedModel, tmp_path: Path, format: str, size: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        export_model(model, format=format, bits=8, size=ImageSizes.parse(size), out=tmp_path / f"a.{format}")


@pytest.mark.parametrize(
    "text", ["", "640", "640x", "640x480,", "256x256..", "1x1..2x2..3x3", "16x16..32x32,64x64", "-4x16"]
)
def test_texts_that_are_no_sizes(text: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"`size` {text}: ")):
        ImageSizes.parse(text)


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("480x640", (480, 640)),
        ("480x640,640x480", (480, 640)),
        ("256x256..1920x1920", (640, 480)),
        ("720x720..1920x1920", (720, 720)),
        ("64x64..512x128", (512, 128)),
    ],
)
def test_default_sizes(text: str, default: tuple[int, int]) -> None:
    assert ImageSizes.parse(text).default == default


def test_what_is_allowed_and_what_is_nearest() -> None:
    fixed = ImageSizes("fixed", ((640, 480),), (640, 480))
    assert fixed.allows(640, 480)
    assert not fixed.allows(480, 640)
    assert fixed.nearest(100, 4000) == (640, 480)
    several = ImageSizes("enumerated", ((640, 480), (480, 640), (512, 512), (1024, 1024)), (640, 480))
    assert several.nearest(3000, 4000) == (480, 640)
    assert several.nearest(600, 601) == (512, 512)
    assert several.nearest(2000, 2000) == (1024, 1024)
    ranged = ImageSizes("ranged", ((64, 64), (1024, 768)), (64, 64))
    assert ranged.allows(1024, 64)
    assert not ranged.allows(1024, 1024)
    assert ranged.nearest(4000, 30) == (1024, 64)
    assert str(ranged) == "64x64 to 1024x768"
