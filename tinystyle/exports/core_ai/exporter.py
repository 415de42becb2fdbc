"""Writes a network as a Core AI file (.aimodel, iOS 27) by Apple's converter. The same model gives the same bytes.

The converter gives the graphs of a file random names and the file a date: fixed names replace those, and the date goes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tinystyle import __version__
from tinystyle.coreml.exporter.metadata import INPUT, LICENSE, OUTPUT, SHARES, lineage_text, title
from tinystyle.coreml.package import atomic_folder
from tinystyle.coreml.quiet import silent
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.exports.extras import require
from tinystyle.exports.trace import trace
from tinystyle.model_file import LoadedModel, LoadedStyles
from tinystyle.nets.styled import second_input

__all__ = ["write"]

_PROGRAM, _HASH, _METADATA = "main.mlirb", "main.hash", "metadata.json"
_RANDOM = re.compile(r"\b(?:resource_\d+|instance_norm_[a-z]{8})\b")
"""Names in a program that differ from conversion to conversion: of large constants, and of the graphs of norms."""
_SHORTENED = 16
"""Characters of a hash in the lineage, which is whole in the model card."""


def write(model: LoadedModel | LoadedStyles, *, bits: int, sizes: ImageSizes, compute: str, out: Path) -> None:
    """Convert a model and write it, atomically.

    Args:
        model: network to convert; one of many styles takes the share of each as a second input, in the order of the entry
            `styles` of the metadata.
        bits: bits per weight of a convolution: 32, 16, 8, 6 or 4.
        sizes: the one image size that the file takes.
        compute: float16 or float32; input and output are float32 either way.
        out: path that ends in .aimodel, a folder.

    Raises:
        UserError: coreai-torch is not installed.
    """
    require("coreai", "an .aimodel")
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as folder, silent():
        asset = Path(folder) / "model.aimodel"
        _convert(model, bits, sizes, compute, asset)
        program = (asset / _PROGRAM).read_bytes()
        version = json.loads((asset / _METADATA).read_text())
    metadata = {
        # The date of the conversion would change the bytes; the format can do without.
        **{key: version[key] for key in ("assetVersion", "producer")},
        "author": "tinystyle",
        "description": f"tinystyle {title(model)}: stylizes an image",
        "license": LICENSE,
        "creatorDefinedMetadata": {
            "lineage": lineage_text(model.lineage, _SHORTENED),
            "version": __version__,
            **({"styles": ",".join(model.names)} if model.names else {}),
        },
    }
    with atomic_folder(out) as folder_:
        (folder_ / _PROGRAM).write_bytes(program)
        (folder_ / _HASH).write_bytes(hashlib.sha256(program).digest())
        (folder_ / _METADATA).write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n")


def _convert(model: LoadedModel | LoadedStyles, bits: int, sizes: ImageSizes, compute: str, asset: Path) -> None:
    from coreai_torch import TorchConverter, get_decomp_table

    from tinystyle.exports.core_ai.compress import compress

    width, height = sizes.default
    dtype = torch.float16 if compute == "float16" else torch.float32
    inner = copy.deepcopy(model.in_file).eval()
    shares = second_input(inner)
    compress(inner, bits, dtype)
    for parameter in inner.parameters():
        parameter.data = parameter.data.to(dtype)
    program = trace(_Converted(inner, dtype), (torch.zeros(1, 3, height, width), *shares))
    # Without stack traces, and with them the folders of this machine, which the default would keep.
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converter.add_exported_program(
        program.run_decompositions(get_decomp_table()),
        input_names=[INPUT, SHARES] if shares else [INPUT],
        output_names=[OUTPUT],
    )
    _renamed(converter.to_coreai(), asset.with_name("converted.aimodel")).save_asset(asset)


class _Converted(nn.Module):
    """A network that computes in `dtype`, with float32 on both sides."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, photo_b3hw: Tensor, *shares_bs11: Tensor) -> Tensor:
        inputs = (photo_b3hw, *shares_bs11)
        stylized: Tensor = self.network(*(each.to(self.dtype) for each in inputs)).to(torch.float32)
        return stylized


def _renamed(program: Any, scratch: Path) -> Any:
    """Return a program with names in the order in which they appear, and without the places in the source of its parts.

    Args:
        program: what the converter gives.
        scratch: where it is saved in between: only a program that was loaded prints its large constants.
    """
    from coreai._compiler import ir
    from coreai.authoring.asset import AIProgram
    from coreai.authoring.context import Context

    seen: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        kind = match[0].rpartition("_")[0]
        return seen.setdefault(match[0], f"{kind}_{sum(other.startswith(kind) for other in seen)}")

    text = _RANDOM.sub(name, str(program.save_asset(scratch).program))
    context = Context()._mlir_context
    with context:
        return AIProgram._from_mlir_module(ir.Module.parse(text, context=context))
