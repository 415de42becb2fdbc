"""Compares what a Core ML file says that it was made from with what the trained network was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["lineage_fault"]

# Not version and commit: another version of tinystyle may have written the network anew.
_FACTS = ("key", "recipe", "dataset", "style", "perceptual", "init_from", "teacher", "crop")


def lineage_fault(metadata: Mapping[str, str], lineage: Mapping[str, str]) -> str | None:
    """Return how the lineage in a file's metadata contradicts that of a network, in words, or None.

    Values in a file may be shortened, and what either of them lacks contradicts nothing.

    Args:
        metadata: of the file; see `CoreMLModel.metadata`.
        lineage: of the trained network.
    """
    try:
        said: Any = json.loads(metadata.get("lineage", "{}"))
    except ValueError:  # too long for the file, which has only its hash
        return None
    if not isinstance(said, dict):
        return None
    for fact in _FACTS:
        found, expected = str(said.get(fact, "")), lineage.get(fact, "")
        if found and expected and not expected.startswith(found):
            if fact == "key":
                return f"it was made from run {found}, not {expected}"
            return f"it says that it was made from {fact} {found}, and the network from {expected[: len(found)]}"
    return None
