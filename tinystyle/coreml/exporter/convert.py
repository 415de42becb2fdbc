"""Converts a network to a Core ML file that takes and returns an RGB image.

Does not depend on training or architectures. The same model gives the same bytes in any process: values that
coremltools generates on every export (date, UUIDs) are fixed or removed.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tinystyle.coreml import check_compute, check_format
from tinystyle.coreml.exporter.metadata import INPUT, OUTPUT, SHARES, describe
from tinystyle.coreml.exporter.quantize import compress_neural_network, shorten_names, shorten_norms
from tinystyle.coreml.package import content_bytes, write_package
from tinystyle.coreml.quiet import quiet
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, LoadedStyles
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.styled import BlendingNetwork, second_input

__all__ = ["ExportResult", "check_float16", "export_model"]

MAX_FLOAT16 = 65504.0


@dataclass(frozen=True)
class ExportResult:
    """A file that was written."""

    path: Path
    format: str
    bits: int
    size: tuple[int, int]
    """(width, height) in pixels: the size of a file with one size, else the default."""
    bytes: int
    """Size of the file, or of all files in an .mlpackage."""
    sizes: ImageSizes
    compute: str | None
    """Precision of the computation: float16, float32, or None if the device decides."""
    minimum_ios: int
    """Oldest iOS that runs a Core ML file; 0 for other formats."""


def export_model(
    model: LoadedModel | LoadedStyles,
    *,
    format: str,
    bits: int,
    size: tuple[int, int] | ImageSizes,
    out: Path,
    ios: int = 16,
    compute: str | None = None,
) -> ExportResult:
    """Convert, compress and write a model; the write is atomic and replaces what exists at `out`.

    `mlmodel` is a neural network (iOS 13) with float32 norms and weights of `bits` bits, linear per output channel
    below 16. `mlpackage` is an ML Program (iOS 16): 8 bits are linear per output channel, 6 and 4 are palettes, except
    that 4 bits for iOS 18 are linear (int4). Both take an RGB image named `image` and return one named `stylized`.

    Args:
        model: network to convert. One of many styles becomes a neural network with a second input, `styles`: the share of
            each style, in the order of the entry `styles` of the file's metadata.
        format: a key of `tinystyle.coreml.FORMATS`.
        bits: bits per convolution weight, from `FORMATS[format]`.
        size: (width, height) in pixels, or for an ML Program several sizes or a range; multiples of the network's
            stride.
        out: path that ends in the format's name.
        ios: oldest iOS that must run the file, 16 or 18.
        compute: float16 or float32, for an ML Program; by default float32 at 32 bits, else float16.

    Raises:
        UserError: an argument or a combination of arguments is not possible, or a weight is too large for float16;
            raised before the conversion starts.
    """
    check_format(format, bits, ios)
    compute = check_compute(format, bits, compute)
    sizes = size if isinstance(size, ImageSizes) else ImageSizes.fixed(*size)
    sizes.check(format, model.network.stride)
    _check_out(out, format)
    if model.names and format != "mlmodel":
        raise UserError(
            f"an .{format} takes one style; choose it with `style`, or write all of them to an .mlmodel, .onnx or .aimodel"
        )
    if compute == "float16" or bits == 16:
        check_float16(model.network)
    summary = f"{sizes if len(sizes.choices) < 3 else f'{len(sizes.choices)} sizes'}, {bits}-bit weights"
    with quiet():
        if format == "mlmodel":
            _export_neural_network(model, bits, sizes, summary, out)
        else:
            _export_program(model, bits, sizes, ios, compute == "float16", summary, out)
        # Objects that coremltools leaves behind warn when they are collected: collect them while warnings are off.
        gc.collect()
    minimum_ios = 13 if format == "mlmodel" else ios
    return ExportResult(out, format, bits, sizes.default, content_bytes(out), sizes, compute, minimum_ios)


def _check_out(out: Path, format: str) -> None:
    if out.suffix != f".{format}":
        raise UserError(f"{out}: the name of this file must end in .{format}")
    if format == "mlmodel" and out.is_dir():
        raise UserError(f"{out}: is a folder; give the name of a file")
    if format == "mlpackage" and out.exists() and not (out / "Manifest.json").is_file():
        raise UserError(f"{out}: exists and is not a Core ML package; remove it or give another name")


def check_float16(network: nn.Module) -> None:
    """Raise UserError if a value of the network is beyond float16."""
    for name, values in network.state_dict().items():
        if (most := float(values.abs().max())) > MAX_FLOAT16:
            raise UserError(f"{name} holds {most:.3g}, beyond float16's 65504; export it with 32 bits")


def _export_neural_network(
    model: LoadedModel | LoadedStyles, bits: int, sizes: ImageSizes, summary: str, out: Path
) -> None:
    spec = _convert(model.in_file, sizes, convert_to="neuralnetwork").get_spec()
    compress_neural_network(spec, bits)
    if model.names and bits < 32:
        shorten_norms(spec)
    shorten_names(spec)
    describe(spec.description, model, summary)
    storage.write_bytes(out, spec.SerializeToString(deterministic=True))


def _export_program(
    model: LoadedModel | LoadedStyles, bits: int, sizes: ImageSizes, ios: int, float16: bool, summary: str, out: Path
) -> None:
    import coremltools as ct

    from tinystyle.coreml.exporter.any_side import ANY_SIDE
    from tinystyle.coreml.exporter.mlprogram import ENCODE_WEIGHTS, slim_program

    pipeline = ct.PassPipeline.DEFAULT
    if sizes.kind == "ranged":
        pipeline.insert_pass(0, ANY_SIDE)
        pipeline.set_options(ANY_SIDE, {"stride": model.network.stride})
    pipeline.append_pass(ENCODE_WEIGHTS)
    pipeline.set_options(ENCODE_WEIGHTS, {"bits": bits, "ios": ios})
    assert isinstance(model, LoadedModel)
    converted = _convert(
        model.network,
        sizes,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18 if ios == 18 else ct.target.iOS16,
        compute_precision=ct.precision.FLOAT16 if float16 else ct.precision.FLOAT32,
        pass_pipeline=pipeline,
        skip_model_load=True,
    )
    spec = converted.get_spec()
    slim_program(spec)
    _declare_output(spec.description)
    describe(spec.description, model, summary)
    write_package(out, spec.SerializeToString(deterministic=True), Path(converted.weights_dir))


def _convert(network: StyleNetwork | BlendingNetwork, sizes: ImageSizes, **options: Any) -> Any:
    import coremltools as ct

    # Nothing in the trace depends on this size, so it is a small one, whose activations take little memory.
    side = 16 * network.stride
    shares = second_input(network)
    with torch.no_grad():
        # Traced, not torch.export-ed: conversion of an exported program leaves a debug file in the working folder.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            _PlainSizes(network).eval(),
            (torch.zeros(1, 3, side, side), *shares),
            check_trace=False,
        )
    rgb = ct.colorlayout.RGB
    converted = ct.convert(
        traced,
        inputs=[
            ct.ImageType(INPUT, shape=_shape(sizes), scale=1.0, color_layout=rgb),
            *(ct.TensorType(SHARES, shape=tuple(each.shape)) for each in shares),
        ],
        outputs=[ct.ImageType(OUTPUT, color_layout=rgb)],
        **options,
    )
    output = converted.get_spec().description.output[0].type.imageType
    assert sizes.kind != "fixed" or (output.width, output.height) == sizes.default
    return converted


def _declare_output(description: Any) -> None:
    """Declare that the output has the input's size, of which coremltools leaves open all but a single one."""
    (image,), (stylized,) = description.input, description.output
    stylized.type.imageType.CopyFrom(image.type.imageType)


def _shape(sizes: ImageSizes) -> Any:
    """Return the sizes as coremltools takes them, in the order (1, 3, height, width)."""
    import coremltools as ct

    shapes = [(1, 3, height, width) for width, height in sizes.choices]
    if sizes.kind == "fixed":
        return shapes[0]
    default = (1, 3, sizes.default[1], sizes.default[0])
    if sizes.kind == "enumerated":
        return ct.EnumeratedShapes(shapes, default=default)
    ranges = zip(*shapes, default, strict=True)
    return ct.Shape([low if low == high else ct.RangeDim(low, high, default=usual) for low, high, usual in ranges])


class _PlainSizes(nn.Module):
    """Runs a network with tensor sizes as plain numbers, which tracing would otherwise turn into operations.

    Core ML's converter cannot handle such operations. Plain numbers also drop padding and cropping to a multiple of the
    stride from the trace; `any_side` puts them back where a size needs them.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo_b3hw: Tensor, *shares_bs11: Tensor) -> Tensor:
        with _PlainShapes():
            stylized: Tensor = self.network(photo_b3hw, *shares_bs11)
        return stylized


class _PlainShapes(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is Tensor.shape.__get__:  # type: ignore[attr-defined]
            return torch.Size([int(side) for side in result])
        return result
