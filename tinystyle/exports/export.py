"""Writes a trained network as a file of any format."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tinystyle.coreml.exporter.convert import ExportResult, check_float16
from tinystyle.coreml.exporter.convert import export_model as export_core_ml
from tinystyle.coreml.package import content_bytes
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.exports import FORMATS, check_compute, check_format, check_sizes, format_of
from tinystyle.model_file import LoadedModel, LoadedStyles

__all__ = ["export_model"]


def export_model(
    model: LoadedModel | LoadedStyles,
    *,
    bits: int,
    size: tuple[int, int] | ImageSizes,
    out: Path,
    format: str | None = None,
    ios: int = 16,
    compute: str | None = None,
) -> ExportResult:
    """Convert, compress and write a model; the write is atomic and replaces what exists at `out`.

    Args:
        model: network to convert; one of many styles to any format but an .mlpackage, if no style was chosen.
        bits: bits per convolution weight, one of those of the format.
        size: (width, height) in pixels, several sizes or a range.
        out: path that ends in the format's name.
        format: a key of `FORMATS`; by default the one that the name of `out` ends in.
        ios: oldest iOS that must run a Core ML file, 16 or 18.
        compute: float16 or float32; by default float16 at 16 bits and for an ML Program of fewer, else float32.

    Raises:
        UserError: an argument or a combination of arguments is not possible, or a package is not installed; raised
            before the conversion starts.
    """
    format = format_of(out, format)
    check_format(format, bits, ios)
    compute = check_compute(format, bits, compute)
    if not FORMATS[format].exporter:
        return export_core_ml(model, format=format, bits=bits, size=size, out=out, ios=ios, compute=compute)
    sizes = size if isinstance(size, ImageSizes) else ImageSizes.fixed(*size)
    check_sizes(format, sizes, model.network.stride)
    if compute == "float16":
        check_float16(model.network)
    if format != "aimodel" and out.is_dir():
        raise UserError(f"{out}: is a folder; give the name of a file")
    if format == "aimodel" and out.exists() and not (out / "metadata.json").is_file():
        raise UserError(f"{out}: exists and is not a Core AI file; remove it or give another name")
    module = import_module(FORMATS[format].exporter)
    module.write(model, bits=bits, sizes=sizes, compute=compute, out=out)
    return ExportResult(out, format, bits, sizes.default, content_bytes(out), sizes, compute, 0)
