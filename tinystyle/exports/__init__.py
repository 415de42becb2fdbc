"""Files of trained networks for other runtimes: the registry of all formats, and those that are not Core ML's.

Importing this package imports neither torch nor the packages of a format.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinystyle import coreml
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError, closest
from tinystyle.exports.extras import require

__all__ = [
    "FORMATS",
    "Format",
    "check_compute",
    "check_format",
    "check_installed",
    "check_sizes",
    "format_of",
    "names",
    "platforms",
]


@dataclass(frozen=True)
class Format:
    """A format of files."""

    kind: str
    """What such a file is, in words, for the model card."""
    bits: tuple[int, ...]
    """Numbers of bits per convolution weight that it supports."""
    runs_on: str
    """What runs it, for the model card; of Core ML, the result of an export knows it."""
    platforms: tuple[str, ...]
    """Systems that run it."""
    minimum_ios: int | None = None
    """Oldest iOS whose own runtime runs it; None if an app brings the runtime along, or, as of Core ML, the file decides."""
    exporter: str = ""
    """Module with `write`; empty for Core ML, whose formats `tinystyle.coreml` writes and reads."""
    reader: str = ""
    """Module with `read`, which returns a file to verify."""
    runtime: str = "Core ML"
    """What runs it, in short."""
    layout: str = ""
    """What the input is, in words, for the model card; empty for Core ML."""
    use: str = ""
    """How it is used, in a few sentences, for the model card; empty for Core ML."""
    extra: str = ""
    """Extra of tinystyle with the packages that write and run it."""


_APPLE = ("iOS", "macOS")

FORMATS: dict[str, Format] = {
    "mlmodel": Format("neural network (.mlmodel)", coreml.FORMATS["mlmodel"], "iOS 13 and later", _APPLE),
    "mlpackage": Format("ML Program (.mlpackage)", coreml.FORMATS["mlpackage"], "iOS 16 and later", _APPLE),
    "onnx": Format(
        "ONNX (.onnx)",
        (32, 16, 8),
        "ONNX Runtime: Android, Windows, Linux, macOS, iOS and the web",
        ("Android", "Windows", "Linux", "macOS", "iOS", "web"),
        exporter="tinystyle.exports.onnx_file.exporter",
        reader="tinystyle.exports.onnx_file.saved_file",
        runtime="ONNX Runtime",
        layout="float32 (1, 3, height, width), the planes red, green and blue of sRGB, 0 to 255",
        use="Give a session of ONNX Runtime the input `image`, and round the output `stylized`, which is from 0 to 255. "
        "The scaling of pixels is inside.",
        extra="onnx",
    ),
    "aimodel": Format(
        "Core AI (.aimodel)",
        (32, 16, 8, 6, 4),
        "Core AI: iOS 27, macOS 27 and later",
        _APPLE,
        minimum_ios=27,
        exporter="tinystyle.exports.core_ai.exporter",
        reader="tinystyle.exports.core_ai.saved_file",
        runtime="Core AI",
        layout="float32 (1, 3, height, width), the planes red, green and blue of sRGB, 0 to 255",
        use="Load it with `AIModel`, give its function `main` the input `image` as an `NDArray`, and round the output "
        "`stylized`, which is from 0 to 255. The scaling of pixels is inside.",
        extra="coreai",
    ),
}
"""Suffix of a file's name, without the dot -> its format."""


def names(separator: str = ", ") -> str:
    """Return the suffixes of all formats, the last two joined by "or"."""
    *others, last = (f".{name}" for name in FORMATS)
    return f"{separator.join(others)} or {last}"


def platforms(format: str, minimum_ios: int | None) -> dict[str, str]:
    """Return platform -> its oldest version that runs a file of a format, a key of `FORMATS`.

    Args:
        minimum_ios: oldest iOS with the runtime in it; None if an app brings the runtime along, which then decides: the
            versions are empty.
    """
    if minimum_ios is None:
        return dict.fromkeys(FORMATS[format].platforms, "")
    return {"iOS": str(minimum_ios), "macOS": coreml.macos_of(minimum_ios)}


def format_of(out: Path, format: str | None = None) -> str:
    """Return the format of a file to write, by its name, and check that it is the one that was asked for, if any.

    Raises:
        UserError: the name ends in no format's suffix, or in another's.
    """
    suffix = out.suffix[1:].lower()
    if format is None:
        if suffix not in FORMATS:
            raise UserError(f"{out}: give a name that ends in {names()}")
        return suffix
    if format not in FORMATS:
        *others, last = FORMATS
        raise UserError(f"`format` {format}{closest(format, FORMATS)}: give {', '.join(others)} or {last}")
    if suffix != format:
        raise UserError(f"{out} is not the name of an .{format}; leave out `format`, or give a name that ends in it")
    return format


def check_format(format: str, bits: int, ios: int = 16) -> None:
    """Raise UserError unless a file of `format`, a key of `FORMATS`, can have these bits; `ios` is for Core ML."""
    if not FORMATS[format].exporter:
        coreml.check_format(format, bits, ios)
        return
    if bits not in FORMATS[format].bits:
        *others, last = map(str, FORMATS[format].bits)
        raise UserError(f"`bits` {bits}: an .{format} has {', '.join(others)} or {last}")
    if ios != 16:
        raise UserError(f"`ios` {ios} is for an mlpackage of 4 bits; leave it out")


def check_compute(format: str, bits: int, compute: str | None) -> str | None:
    """Return the precision in which a file computes: "float16", "float32", or None if the device decides.

    Raises:
        UserError: a file of this format and these bits cannot compute in that precision.
    """
    if not FORMATS[format].exporter:
        return coreml.check_compute(format, bits, compute)
    if compute not in (None, "float16", "float32"):
        raise UserError(f"a file cannot compute in {compute}; choose float16 or float32")
    if compute and (bits, compute) in ((32, "float16"), (16, "float32")):
        raise UserError(f"an .{format} of {bits} bits computes in float{bits}; leave {compute} out, or choose 8 bits")
    return compute or ("float16" if bits == 16 or (format == "aimodel" and bits < 16) else "float32")


def check_sizes(format: str, sizes: ImageSizes, stride: int) -> None:
    """Raise UserError unless a file of `format` can accept these sizes, for a network of this stride in pixels."""
    if format == "aimodel" and sizes.kind != "fixed":
        raise UserError(f"an .aimodel takes images of one size, not {sizes}; give one, or write an .mlpackage")
    sizes.check(format, stride)


def check_installed(format: str) -> None:
    """Raise UserError unless the packages of a format, a key of `FORMATS`, are installed."""
    if FORMATS[format].extra:
        require(FORMATS[format].extra, f"an .{format}")
