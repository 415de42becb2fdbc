"""What a Core ML file says of itself, in at most 450 bytes; the long text stands in the model card beside it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tinystyle import __version__
from tinystyle.model_file import LoadedModel

__all__ = ["LICENCE", "MAX_METADATA_BYTES", "describe", "title"]

MAX_METADATA_BYTES = 430
MAX_STYLE_BYTES = 60
LICENCE = "Apache-2.0; style image and photographs under their own terms"
USAGE = "RGB image in and out; Vision resizes to the input size"


def title(model: LoadedModel) -> str:
    """The style's name if the lineage has a `style_name`, and the network's: `starry_night, small 0.3`."""
    network = f"{model.config.architecture} {model.config.alpha:g}"
    style = " ".join(model.lineage.get("style_name", "").split())
    if len(style.encode()) > MAX_STYLE_BYTES:
        style = style.encode()[: MAX_STYLE_BYTES - 3].decode(errors="ignore") + "..."
    return f"{style}, {network}" if style else network


def describe(metadata: Any, model: LoadedModel, summary: str) -> None:
    """Fill a Core ML file's Metadata protobuf, in place, with at most MAX_METADATA_BYTES.

    Lineage is compact JSON, long values such as hashes cut to their beginnings as far as needed; where even their
    first eight characters do not fit, its hash.

    Args:
        metadata: emptied first: of what coremltools writes, the date differs from day to day.
        model: lends title and lineage.
        summary: sizes and bits, in a few words.
    """
    metadata.Clear()
    metadata.shortDescription = f"tinystyle {title(model)}: stylises an image, {summary}"
    metadata.author = "tinystyle"
    metadata.license = LICENCE
    metadata.versionString = __version__
    metadata.userDefined["usage"] = USAGE
    for text in _lineage_texts(model.lineage):
        metadata.userDefined["lineage"] = text
        if metadata.ByteSize() <= MAX_METADATA_BYTES:
            return
    raise AssertionError(f"metadata of {metadata.ByteSize()} bytes")


def _lineage_texts(lineage: dict[str, str]) -> list[str]:
    """From the fullest to the shortest."""
    # The style's name is in the title.
    entries = sorted((key, value) for key, value in lineage.items() if value and key != "style_name")
    texts = [
        json.dumps({key: value[:length] for key, value in entries}, separators=(",", ":"))
        for length in (64, 32, 16, 12, 10, 8)
    ]
    digest = hashlib.sha256(json.dumps(lineage, sort_keys=True).encode()).hexdigest()
    return [*texts, f"{len(lineage)} entries, SHA-256 {digest[:16]}, in the model card"]
