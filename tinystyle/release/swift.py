"""Writes a Swift file that runs a saved Core ML file in an app. Does not depend on how the file was made.

Its text is StyleTransfer.swift.template beside this module, with ___NAME___ as placeholders for what depends on the
model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tinystyle.coreml import macos_of
from tinystyle.errors import UserError

if TYPE_CHECKING:
    from tinystyle.coreml.evaluator.model import CoreMLModel
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.release.swift_names import taken_by, xcode_classes

__all__ = ["class_name", "swift_source"]

_FIRST_IOS = 15
"""Oldest iOS with the calls in the template."""
_STRIDE = 4
"""Image sides, in pixels, are multiples of this, because a network halves them twice."""
_TEMPLATE = resources.files("tinystyle.release").joinpath("StyleTransfer.swift.template")

_NEAREST_OF_SEVERAL = """
    /// All that the model takes.
    static let sizes = [
        {sizes},
    ]

    /// The size that an image of this extent is stylized at: the most alike in shape, then in number of pixels.
    static func size(for extent: CGRect) -> Size {{
        let width = Double(extent.width), height = Double(extent.height)
        func mismatch(_ size: Size) -> (Double, Double) {{
            let ratio = Double(size.width) * height / (Double(size.height) * width)
            let pixels = Double(size.width * size.height)
            return ((max(ratio, 1 / ratio) * 1000).rounded(), abs(pixels - width * height))
        }}
        return sizes.min {{ mismatch($0) < mismatch($1) }} ?? defaultSize
    }}"""
_NEAREST_IN_RANGE = """
    /// The bounds of what the model takes; sides are to be multiples of {step}.
    static let smallest = Size({smallest}), largest = Size({largest})

    /// The size that an image of this extent is stylized at: its own, made smaller in proportion where it is too large.
    static func size(for extent: CGRect) -> Size {{
        let width = Double(extent.width), height = Double(extent.height)
        let scale = min(1.0, Double(largest.width) / width, Double(largest.height) / height)
        func side(_ length: Double, _ least: Int, _ most: Int) -> Int {{
            min(max(Int((length * scale / {step}).rounded()) * {step}, least), most)
        }}
        return Size(
            width: side(width, smallest.width, largest.width), height: side(height, smallest.height, largest.height))
    }}"""


def class_name(out: Path) -> str:
    """Return the class that the Swift file `out` declares: it has the file's name, as is usual in Swift.

    Raises:
        UserError: the name does not end in .swift, cannot name a class, or is one that the file's own code uses.
    """
    name = out.stem
    if out.suffix != ".swift" or not re.fullmatch(r"[A-Z][A-Za-z0-9_]*", name):
        raise UserError(
            f"{out}: give a name such as StyleTransfer.swift, a capital, then letters and digits: its class is named so"
        )
    owner = taken_by(name) or ("taken in the file itself" if name in _own_words() else None)
    if owner:
        raise UserError(f"{out}: the name {name} is {owner}; give one of your own, such as {name}Style.swift")
    return name


def _own_words() -> set[str]:
    """Return the words that the code of the file consists of, whatever the model."""
    text = "\n".join((_TEMPLATE.read_text(encoding="utf-8"), _NEAREST_OF_SEVERAL, _NEAREST_IN_RANGE))
    return set(re.findall(r"\w+", re.sub(r'//.*|"[^"]*"', "", text)))


def swift_source(model: CoreMLModel, name: str = "StyleTransfer") -> str:
    """Return the text of NAME.swift: class NAME, which runs `model` with its own feature names and image sizes.

    The same model gives the same text. Names from the model become Swift string literals and are escaped.

    Args:
        model: the saved file; the class loads it from the app's bundle by its name without the suffix.
        name: name of the class; see `class_name`.

    Raises:
        UserError: Xcode generates a class of the same name for the file, and an app cannot contain both.
    """
    if model.shares:
        raise UserError(
            f"{model.path} has many styles, which this class does not choose from; docs/ios.md shows how to"
        )
    generated, *others = xcode_classes(model.path)
    # By case only the classes differ, but not the object files that Xcode compiles them to.
    if name.lower() == generated.lower() or name in others:
        clash = generated if name.lower() == generated.lower() else name
        raise UserError(
            f"{model.path.name}: Xcode makes a class {clash} of it; name the Swift file differently, "
            f"such as {name}Style.swift"
        )
    sizes = model.sizes
    values = {
        "AVAILABLE": ", ".join(_systems(model.minimum_ios)),
        "BITS": str(model.bits),
        "CLASS": name,
        "DEFAULT": _size(sizes.default),
        "FILE": _printable(model.path.name),
        "INPUT": _literal(model.input),
        "OUTPUT": _literal(model.output),
        # The smallest format of the camera that is sufficient for the model.
        "PRESET": ".vga640x480" if max(sizes.default) <= 640 and min(sizes.default) <= 480 else ".high",
        "RESOURCE": _literal(model.path.stem),
        "SIZES": str(sizes),
        "SIZE_RULE": _size_rule(sizes),
        "SYSTEM": " or ".join(_systems(model.minimum_ios)),
    }
    # In one pass, so that text from a model's name is never taken for a placeholder.
    return re.sub(r"___([A-Z_]+?)___", lambda match: values[match[1]], _TEMPLATE.read_text(encoding="utf-8"))


def _systems(minimum_ios: int) -> tuple[str, str]:
    ios = max(minimum_ios, _FIRST_IOS)
    return f"iOS {ios}.0", f"macOS {macos_of(ios)}.0"


def _size_rule(sizes: ImageSizes) -> str:
    if sizes.kind != "ranged":
        return _NEAREST_OF_SEVERAL.format(sizes=",\n        ".join(f"Size({_size(size)})" for size in sizes.choices))
    smallest, largest = sizes.choices
    step = math.gcd(_STRIDE, *smallest, *largest)
    return _NEAREST_IN_RANGE.format(smallest=_size(smallest), largest=_size(largest), step=step)


def _size(size: Sequence[int]) -> str:
    return f"width: {size[0]}, height: {size[1]}"


def _literal(text: str) -> str:
    """Return `text` as a Swift string literal."""
    return '"' + _printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _printable(text: str) -> str:
    """Return `text` with everything that would end a line, or is invisible, escaped as in Swift."""
    return "".join(letter if letter.isprintable() else f"\\u{{{ord(letter):x}}}" for letter in text)
