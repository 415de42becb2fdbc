"""The short description inside a Core ML file, up to MAX_METADATA_BYTES; the model card beside it has the long one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tinystyle import __version__
from tinystyle.model_file import LoadedModel, LoadedStyles

__all__ = ["INPUT", "LICENSE", "MAX_METADATA_BYTES", "OUTPUT", "SHARES", "describe", "lineage_text", "title"]

INPUT, OUTPUT = "image", "stylized"
SHARES = "styles"
"""Name of the second input of a file of many styles: the share of each, (1, styles, 1, 1)."""

MAX_METADATA_BYTES = 430
MAX_STYLE_BYTES = 60
LICENSE = "Apache-2.0; style image and photographs under their own terms"
SHARES_DESCRIPTION = "share of each style in the metadata's list; they add up to 1"
USAGE = "RGB image in and out; Vision resizes to the input size"
INPUT_DESCRIPTION, OUTPUT_DESCRIPTION = "photo, sRGB", "stylized photo of its size, sRGB"


def title(model: LoadedModel | LoadedStyles) -> str:
    """Return the style's name, if the lineage has a `style_name`, and the network's: `starry_night, small 0.3`."""
    network = f"{model.config.architecture} {model.config.alpha:g}"
    style = " ".join(model.lineage.get("style_name", "").split())
    if len(style.encode()) > MAX_STYLE_BYTES:
        style = style.encode()[: MAX_STYLE_BYTES - 3].decode(errors="ignore") + "..."
    return f"{style}, {network}" if style else network


def describe(description: Any, model: LoadedModel | LoadedStyles, summary: str) -> None:
    """Describe a Core ML file, its input and its output in its ModelDescription protobuf, in place.

    The metadata have at most MAX_METADATA_BYTES, apart from the names of many styles.

    The lineage is compact JSON, in which long values such as hashes are shortened as far as needed; if even their first
    eight characters do not fit, it is replaced by its hash.

    Args:
        description: its metadata are cleared first, because the date that coremltools writes changes from day to day.
        model: supplies title and lineage.
        summary: sizes and bits, in a few words.
    """
    description.input[0].shortDescription = INPUT_DESCRIPTION
    description.output[0].shortDescription = OUTPUT_DESCRIPTION
    metadata = description.metadata
    metadata.Clear()
    metadata.shortDescription = f"tinystyle {title(model)}: stylizes an image, {summary}"
    metadata.author = "tinystyle"
    metadata.license = LICENSE
    metadata.versionString = __version__
    metadata.userDefined["usage"] = USAGE
    for text in _lineage_texts(model.lineage):
        metadata.userDefined["lineage"] = text
        if metadata.ByteSize() <= MAX_METADATA_BYTES:
            if model.names:
                description.input[1].shortDescription = SHARES_DESCRIPTION
                metadata.userDefined["styles"] = ",".join(model.names)
            return
    raise AssertionError(f"metadata of {metadata.ByteSize()} bytes")


def lineage_text(lineage: dict[str, str], length: int) -> str:
    """Return a lineage as compact JSON, in which values have at most `length` characters."""
    # The style's name is already in the title.
    entries = sorted((key, value) for key, value in lineage.items() if value and key != "style_name")
    return json.dumps({key: value[:length] for key, value in entries}, separators=(",", ":"))


def _lineage_texts(lineage: dict[str, str]) -> list[str]:
    """Return the texts to try, from the fullest to the shortest."""
    texts = [lineage_text(lineage, length) for length in (64, 32, 16, 12, 10, 8)]
    digest = hashlib.sha256(json.dumps(lineage, sort_keys=True).encode()).hexdigest()
    return [*texts, f"{len(lineage)} entries, SHA-256 {digest[:16]}, in the model card"]
