"""A network to a Core ML file that takes an RGB image and returns one. Knows nothing of training or architectures.

The same model gives the same bytes, in any process: what coremltools draws anew each time (date, UUIDs) is fixed or
left out.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tinystyle import __version__, storage
from tinystyle.coreml import check_format, check_size
from tinystyle.coreml.compress import compress_neural_network, compress_program, shorten_names
from tinystyle.model_file import LoadedModel

__all__ = ["INPUT", "OUTPUT", "ExportResult", "export_model"]

INPUT, OUTPUT = "image", "stylized"
MAX_LINEAGE_BYTES = 450
_PACKAGE_FILES = (  # path below Data/com.apple.CoreML, description
    ("model.mlmodel", "CoreML Model Specification"),
    ("weights", "CoreML Model Weights"),
)


@dataclass(frozen=True)
class ExportResult:
    """A Core ML file that was written."""

    path: Path
    format: str
    bits: int
    size: tuple[int, int]
    """(width, height) in pixels."""
    bytes: int
    """Size of the file; of an .mlpackage, of all the files in it."""


def export_model(model: LoadedModel, *, format: str, bits: int, size: tuple[int, int], out: Path) -> ExportResult:
    """Convert, compress and write a model, whole or not at all; what stands at `out` is replaced.

    `mlmodel` is a neural network (iOS 13) with float32 norms and weights of `bits` bits, linear per output channel
    below 16. `mlpackage` is an ML Program (iOS 16) computing in float32 at 32 bits, else in float16; 8 bits are linear
    per output channel, fewer are palettes. Both take an RGB image named `image` and return one named `stylized`.

    Args:
        model: what to convert.
        format: a key of `tinystyle.coreml.FORMATS`.
        bits: bits per convolution weight, from `FORMATS[format]`.
        size: (width, height) in pixels, multiples of the network's stride.
        out: path that ends in the format's name.

    Raises:
        ValueError: format, bits, size or `out` is not possible; raised before any work.
    """
    check_format(format, bits)
    check_size(*size, model.network.stride)
    _check_out(out, format)
    with _quiet():
        if format == "mlmodel":
            _export_neural_network(model, bits, size, out)
        else:
            _export_program(model, bits, size, out)
        # What coremltools leaves behind warns when it is collected, and that is to happen in here.
        gc.collect()
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    return ExportResult(out, format, bits, size, sum(path.stat().st_size for path in files))


def _check_out(out: Path, format: str) -> None:
    if out.suffix != f".{format}":
        raise ValueError(f"{out}: the name of this file must end in .{format}")
    if format == "mlmodel" and out.is_dir():
        raise ValueError(f"{out}: is a folder; give the name of a file")
    if format == "mlpackage" and out.exists() and not (out / "Manifest.json").is_file():
        raise ValueError(f"{out}: exists and is no Core ML package; remove it or give another name")


def _export_neural_network(model: LoadedModel, bits: int, size: tuple[int, int], out: Path) -> None:
    spec = _convert(model.network, size, convert_to="neuralnetwork").get_spec()
    compress_neural_network(spec, bits)
    shorten_names(spec)
    _describe(spec, model, bits, size)
    storage.write_bytes(out, spec.SerializeToString(deterministic=True))


def _export_program(model: LoadedModel, bits: int, size: tuple[int, int], out: Path) -> None:
    import coremltools as ct

    precision = ct.precision.FLOAT32 if bits == 32 else ct.precision.FLOAT16
    converted = _convert(
        model.network,
        size,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=precision,
        skip_model_load=True,
    )
    converted = compress_program(converted, bits)
    spec = converted.get_spec()
    _describe(spec, model, bits, size)
    with _atomic_folder(out) as folder:
        data = folder / "Data" / "com.apple.CoreML"
        data.mkdir(parents=True)
        shutil.copytree(converted.weights_dir, data / "weights")
        (data / "model.mlmodel").write_bytes(spec.SerializeToString(deterministic=True))
        (folder / "Manifest.json").write_text(json.dumps(_manifest(), indent=4, sort_keys=True) + "\n")


def _manifest() -> dict[str, Any]:
    # The format wants UUIDs that differ within one package; they need not differ between packages.
    entries = {
        str(uuid.uuid5(uuid.NAMESPACE_URL, f"tinystyle/{name}")): {
            "author": "com.apple.CoreML",
            "description": description,
            "name": name,
            "path": f"com.apple.CoreML/{name}",
        }
        for name, description in _PACKAGE_FILES
    }
    return {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": next(iter(entries))}


def _convert(network: nn.Module, size: tuple[int, int], **options: Any) -> Any:
    import coremltools as ct

    width, height = size
    photo_b3hw = torch.zeros(1, 3, height, width)
    with torch.no_grad():
        # Traced, not torch.export-ed: conversion of an exported program leaves a debug file in the working folder.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            _FixedSize(network).eval(), photo_b3hw, check_trace=False
        )
    rgb = ct.colorlayout.RGB
    return ct.convert(
        traced,
        inputs=[ct.ImageType(INPUT, shape=tuple(photo_b3hw.shape), scale=1.0, color_layout=rgb)],
        outputs=[ct.ImageType(OUTPUT, color_layout=rgb)],
        **options,
    )


class _FixedSize(nn.Module):
    """Runs a network with the sizes of its tensors as plain numbers, which tracing would else turn into operations.

    Core ML's fixed-size converter cannot digest those; and padding, which no size that gets here needs, falls away.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, photo_b3hw: Tensor) -> Tensor:
        with _PlainShapes():
            stylized: Tensor = self.network(photo_b3hw)
        return stylized


class _PlainShapes(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is Tensor.shape.__get__:  # type: ignore[attr-defined]
            return torch.Size([int(side) for side in result])
        return result


def _describe(spec: Any, model: LoadedModel, bits: int, size: tuple[int, int]) -> None:
    config, metadata = model.config, spec.description.metadata
    metadata.shortDescription = (
        f"tinystyle {config.architecture} {config.alpha:g}: RGB image to stylised image, "
        f"{size[0]}x{size[1]}, {bits}-bit weights"
    )
    metadata.author = "tinystyle"
    metadata.license = "Apache-2.0; style image and photographs under their own terms"
    metadata.versionString = __version__
    # Of what coremltools writes here, the date differs from day to day and the rest is bytes that nobody reads.
    metadata.userDefined.clear()
    metadata.userDefined["lineage"] = _compact(model.lineage)


def _compact(lineage: dict[str, str]) -> str:
    """`lineage` as JSON of at most MAX_LINEAGE_BYTES; long values, such as hashes, are cut to their beginnings."""
    for length in (64, 32, 16, 8, 0):
        text = json.dumps({key: value[:length] for key, value in sorted(lineage.items())}, separators=(",", ":"))
        if len(text) <= MAX_LINEAGE_BYTES:
            return text
    raise ValueError(f"the model's lineage has too many entries ({len(lineage)}) to fit into {MAX_LINEAGE_BYTES} bytes")


@contextlib.contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to fill: takes the place of `path` if the block ends well, else is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        yield new
        for file in filter(Path.is_file, new.rglob("*")):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        # A folder with content cannot be renamed over: the old one steps aside, and back if the new one cannot follow.
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence coremltools: its log, warnings and progress bars. What goes wrong is an exception, and passes."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
