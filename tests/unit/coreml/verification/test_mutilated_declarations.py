"""Files with all the right weights that declare something else: input, output, sizes, versions, lineage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.mutilations import Mutilation, specification

pytestmark = pytest.mark.slow  # each is verified, in half a second


def image(edit: Callable[[Any], object], *roles: str) -> Mutilation:
    """Edit the declared image of the input, the output, or both."""

    def change(spec: Any) -> None:
        for role in roles or ("input", "output"):
            edit(getattr(spec.description, role)[0].type.imageType)

    return specification(change)


def size(width: int, height: int) -> Callable[[Any], None]:
    def change(declared: Any) -> None:
        declared.width, declared.height = width, height

    return change


def sizes(*choices: tuple[int, int]) -> Callable[[Any], None]:
    def change(declared: Any) -> None:
        declared.enumeratedSizes.SetInParent()
        for width, height in choices:
            declared.enumeratedSizes.sizes.add(width=width, height=height)

    return change


def bounds(low: int, high: int) -> Callable[[Any], None]:
    def change(declared: Any) -> None:
        for side in (declared.imageSizeRange.widthRange, declared.imageSizeRange.heightRange):
            side.lowerBound, side.upperBound = low, high

    return change


def color(space: int) -> Callable[[Any], None]:
    return lambda declared: setattr(declared, "colorSpace", space)


def described(edit: Callable[[Any], object]) -> Mutilation:
    return specification(lambda spec: edit(spec.description))


def renamed(old: str, new: str) -> Mutilation:
    """Renamed by coremltools, wherever the name occurs."""

    def change(spec: Any) -> None:
        from coremltools.models.utils import rename_feature

        rename_feature(spec, old, new)

    return specification(change)


def says(**entries: str) -> Mutilation:
    return described(lambda description: description.metadata.userDefined.update(entries))


def named(old: str, new: str) -> Mutilation:
    return described(lambda description: setattr(getattr(description, old)[0], "name", new))


def version(number: int) -> Mutilation:
    return specification(lambda spec: setattr(spec, "specificationVersion", number))


def array(description: Any) -> None:
    description.input[0].type.multiArrayType.shape.extend([3, 32, 48])
    description.input[0].type.multiArrayType.dataType = 65568


def optional(role: str) -> Mutilation:
    return described(lambda description: setattr(getattr(description, role)[0].type, "isOptional", True))


GRAY, RGB, BGR = 10, 20, 30

CASES: dict[str, tuple[str, Mutilation, str | None]] = {
    # whole ones
    "described by others": (
        "mlmodel-8", described(lambda d: d.metadata.MergeFrom(type(d.metadata)(author="me", shortDescription="a style"))), None,
    ),
    "without metadata": ("mlpackage-8", described(lambda d: d.metadata.Clear()), None),
    "without descriptions": ("mlmodel-4", described(lambda d: d.input[0].ClearField("shortDescription")), None),
    "the same lineage, shorter": ("mlmodel-8", says(lineage='{"run":"cccccccc"}'), None),
    "renamed by coremltools": ("mlmodel-8", renamed("image", "camera"), None),
    "renamed by coremltools, a program": ("mlpackage-6", renamed("stylized", "painting"), None),
    "a later version of networks": ("mlmodel-8", version(5), None),
    "fewer sizes": ("enumerated", image(lambda declared: declared.enumeratedSizes.sizes.pop()), None),
    "a smaller range": ("ranged", image(lambda d: bounds(32, 40)(d) or size(40, 36)(d)), None),
    # colors
    "BGR in": ("mlmodel-4", image(color(BGR), "input"), "other than the weights"),
    "BGR out": ("mlpackage-int4", image(color(BGR), "output"), "other than the weights"),
    "BGR in and out": ("mlpackage-8", image(color(BGR)), "other than the weights"),
    "gray in": ("mlmodel-8", image(color(GRAY), "input"), "other than RGB or BGR"),
    "gray out": ("mlpackage-8", image(color(GRAY), "output"), "other than RGB or BGR"),
    "no color": ("mlmodel-8", image(color(0), "output"), "other than RGB or BGR"),
    # sizes
    "a larger output": ("mlmodel-8", image(size(96, 64), "output"), "not declared to have a size of 48x32"),
    "a turned output": ("mlpackage-8", image(size(32, 48), "output"), "not declared to have a size of 48x32|shape"),
    "a larger input": ("mlmodel-8", image(size(64, 48), "input"), "not declared to have a size of 64x48"),
    "another size of a program": ("mlpackage-16", image(size(64, 48)), "not that of its declared image"),
    "another size of a network": ("mlmodel-32", image(size(64, 48)), "of an image of 64x48 it makes one of 48x32"),
    "several sizes of a network": ("mlmodel-4", image(sizes((48, 32), (32, 48))), "of an image of 32x48 it makes one of"),
    "no multiple of 4": ("mlmodel-8", image(size(50, 34)), "of an image of 50x34 it makes one of 48x32"),
    "no width": ("mlmodel-8", image(size(0, 32)), "default size of 0x32"),
    "a tiny size": ("mlmodel-32", image(size(8, 8)), "it takes an image of 8x8, and fails"),
    "one size of several odd": ("mlmodel-8", image(sizes((48, 32), (49, 32))), "of an image of 49x32"),
    "a range of a network": ("mlmodel-8", image(bounds(24, 64)), "of an image of .* it makes one of"),
    "a range of an enumeration": (
        "enumerated", image(lambda d: d.ClearField("enumeratedSizes") or bounds(24, 64)(d)), "of an image of .* it makes one of",
    ),
    "a range down to 1": ("ranged", image(bounds(1, 64)), "it takes an image of 1x"),
    "a range of a fixed program": ("mlpackage-8", image(bounds(24, 64)), "not that of its declared image"),
    "a range upside down": ("ranged", image(bounds(64, 24)), "range of widths from 64 to 24"),
    "a range from 0": ("ranged", image(bounds(0, 64)), "range of widths from 0 to 64"),
    "a default out of the range": ("ranged", image(size(100, 100)), "default size, 100x100"),
    "a default that is not listed": ("enumerated", image(size(40, 40)), "default size, 40x40"),
    "a size twice": ("enumerated", image(sizes((48, 32))), "lists a size twice"),
    "no sizes": ("mlmodel-8", image(sizes()), "lists 0 sizes"),
    "129 sizes": ("mlmodel-8", image(sizes(*((20 + 4 * i, 32) for i in range(129)))), "lists 129 sizes"),
    "sizes of the input alone": ("mlmodel-8", image(sizes((48, 32), (32, 48)), "input"), "size of 32x48, which its input takes"),
    "a range of the input alone": ("ranged", image(lambda d: d.ClearField("imageSizeRange"), "output"), "as many sizes"),
    "a narrower output": ("ranged", image(bounds(32, 64), "output"), "which its input takes"),
    # names, numbers and kinds of features
    "an input of another name": ("mlmodel-8", named("input", "photo"), "which nothing computes|preprocessing for 'image'"),
    "an output of another name": ("mlmodel-8", named("output", "picture"), "nothing computes 'picture'"),
    "a program's input of another name": ("mlpackage-8", named("input", "photo"), "which nothing computes"),
    "a program's output of another name": ("mlpackage-8", named("output", "picture"), "nothing computes 'picture'"),
    "one name for both": ("mlmodel-8", named("output", "image"), "have one name"),
    "no name": ("mlmodel-8", renamed("image", ""), "has the name ''|nothing computes"),
    "an optional input": ("mlmodel-8", optional("input"), "is declared optional"),
    "an optional output": ("mlpackage-8", optional("output"), "is declared optional"),
    "two inputs": ("mlmodel-8", described(lambda d: d.input.add().CopyFrom(d.input[0])), "does not take one image"),
    "two outputs": ("mlpackage-8", described(lambda d: d.output.add().CopyFrom(d.output[0])), "does not take one image"),
    "no input": ("mlpackage-8", described(lambda d: d.input.pop() and None), "does not take one image"),
    "an array": ("mlmodel-8", described(array), "does not take one image"),
    # what it is declared to be
    "trained on devices": ("mlmodel-8", specification(lambda spec: setattr(spec, "isUpdatable", True)), "trained on devices"),
    "inputs for training": ("mlmodel-8", described(lambda d: d.trainingInput.add(name="image")), "trained on devices"),
    "a classifier": ("mlmodel-8", described(lambda d: setattr(d, "predictedFeatureName", "stylized")), "predict a class"),
    "probabilities": ("mlpackage-8", described(lambda d: setattr(d, "predictedProbabilitiesName", "p")), "predict a class"),
    "a state": ("mlpackage-int4", described(lambda d: d.state.add(name="memory")), "declares a state"),
    "functions": ("mlpackage-int4", described(lambda d: d.functions.add(name="main")), "describes several functions"),
    "a default function": ("mlpackage-8", described(lambda d: setattr(d, "defaultFunctionName", "other")), "several functions"),
    # versions
    "no version": ("mlmodel-8", version(0), "version 0, is not supported"),
    "a version to come": ("mlmodel-8", version(99), "version 99, is not supported"),
    "too old for its mapping": ("mlmodel-32", version(1), "is of specification 1, and its mapping"),
    "too old for its weights": ("mlmodel-8", version(2), "is of specification 2"),
    "too old for programs": ("mlpackage-8", version(5), "does not fit its operations of CoreML6"),
    "too old for its operations": ("mlpackage-8", version(6), "does not fit its operations of CoreML6"),
    "too new for its operations": ("mlpackage-8", version(9), "does not fit its operations of CoreML6"),
    "too old for int4": ("mlpackage-int4", version(7), "does not fit its operations of CoreML8"),
    # lineage
    "from another style": ("mlmodel-8", says(lineage='{"style":"dddddddd"}'), "it says that it was made from style dddddddd"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_declaration_is_judged_as_the_tools_judge_it(judge: Callable[..., None], name: str) -> None:
    judge(*CASES[name])
