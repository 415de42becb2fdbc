"""The description of a Core ML model: its input, its output, their sizes, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinystyle.coreml.sizes import MAX_CHOICES

__all__ = ["description_faults"]

_FLEXIBLE_SINCE = 3
_NO_LIMIT = 1 << 62


def description_faults(spec: Any) -> Iterator[str]:
    """Yield what is wrong with the description in a Model protobuf whose input and output are one image each."""
    description = spec.description
    if spec.isUpdatable or len(description.trainingInput):
        yield "it is declared to be trained on devices, for which it is not made"
    if len(description.functions) or description.defaultFunctionName not in ("", "main"):
        yield "it describes several functions, of which apps would have to choose one"
    if len(description.state):
        yield "it declares a state, which it does not have"
    if description.predictedFeatureName or description.predictedProbabilitiesName:
        yield "it is declared to predict a class"
    image, *shares = description.input
    (stylized,) = description.output
    for feature in shares:
        if feature.type.isOptional or not feature.name.isprintable() or feature.name in (image.name, stylized.name, ""):
            yield f"its second input {feature.name!r} is declared optional, or is not named as a feature"
        names = description.metadata.userDefined["styles"].split(",")
        if len(set(names)) != feature.type.multiArrayType.shape[1]:
            yield f"its metadata name {len(set(names))} styles, and it takes {feature.type.multiArrayType.shape[1]}"
    if image.name == stylized.name:
        yield f"its input and its output have one name, {image.name!r}"
    for feature, role in ((image, "input"), (stylized, "output")):
        if not feature.name.strip() or not feature.name.isprintable():
            yield f"its {role} has the name {feature.name!r}"
        if feature.type.isOptional:
            yield f"its {role} {feature.name!r} is declared optional"
        yield from _size_faults(feature.type.imageType, f"{role} {feature.name!r}", spec.specificationVersion)
    yield from _output_faults(image.type.imageType, stylized.type.imageType)


def _size_faults(image: Any, label: str, version: int) -> Iterator[str]:
    if image.width < 1 or image.height < 1:
        yield f"its {label} has a default size of {image.width}x{image.height}"
    kind = image.WhichOneof("SizeFlexibility")
    if kind is not None and version < _FLEXIBLE_SINCE:
        yield f"its {label} has several sizes, which specification {version} does not know"
    if kind == "enumeratedSizes":
        sizes = [(size.width, size.height) for size in image.enumeratedSizes.sizes]
        if not 0 < len(sizes) <= MAX_CHOICES:
            yield f"its {label} lists {len(sizes)} sizes, and 1 to {MAX_CHOICES} are possible"
        if len(set(sizes)) < len(sizes):
            yield f"its {label} lists a size twice"
    for side, (low, high) in _ranges(image):
        if not 1 <= low <= high:
            yield f"its {label} has a range of {side}s from {low} to {high}"
    if not _allows(image, image.width, image.height):
        yield f"its {label} does not list its own default size, {image.width}x{image.height}"


def _ranges(image: Any) -> list[tuple[str, tuple[int, int]]]:
    if image.WhichOneof("SizeFlexibility") != "imageSizeRange":
        return []
    sides = (("width", image.imageSizeRange.widthRange), ("height", image.imageSizeRange.heightRange))
    return [(name, (side.lowerBound, side.upperBound if side.upperBound >= 0 else _NO_LIMIT)) for name, side in sides]


def _allows(image: Any, width: int, height: int) -> bool:
    kind = image.WhichOneof("SizeFlexibility")
    if kind == "enumeratedSizes":
        return any((size.width, size.height) == (width, height) for size in image.enumeratedSizes.sizes)
    if kind == "imageSizeRange":
        return all(low <= side <= high for side, (_, (low, high)) in zip((width, height), _ranges(image), strict=True))
    return (image.width, image.height) == (width, height)


def _output_faults(image: Any, stylized: Any) -> Iterator[str]:
    """The output has the size of the input: whatever size this takes, that has to allow."""
    kind = image.WhichOneof("SizeFlexibility")
    if kind == "imageSizeRange":
        sizes = list(zip(*(bounds for _, bounds in _ranges(image)), strict=True))
        if stylized.WhichOneof("SizeFlexibility") != "imageSizeRange":
            yield "its output is not declared to have as many sizes as its input"
    elif kind == "enumeratedSizes":
        sizes = [(size.width, size.height) for size in image.enumeratedSizes.sizes]
    else:
        sizes = [(image.width, image.height)]
    for width, height in sizes:
        if not _allows(stylized, width, height):
            shown = "without a limit" if max(width, height) >= _NO_LIMIT else f"of {width}x{height}"
            yield f"its output is not declared to have a size {shown}, which its input takes"
