"""Finds and parses the specification in a `.mlmodel` file or an `.mlpackage` folder, as its manifest says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinystyle.data.placeholders import placeholder
from tinystyle.errors import UserError

__all__ = ["check_placeholder", "manifest_items", "read_specification", "root_model"]

_MANIFEST = "Manifest.json"


def read_specification(path: Path) -> tuple[Any, Path]:
    """Return the Model protobuf of a Core ML file, and the folder to which its references to weight files relate.

    Raises:
        UserError: the file is not there itself, or the manifest does not lead to it.
        OSError: it is missing or cannot be read.
        google.protobuf.message.DecodeError: it is no Model protobuf.
    """
    from coremltools.proto import Model_pb2

    file = root_model(path) if path.is_dir() else path
    data = file.read_bytes()
    check_placeholder(data, None if file == path else file.name)
    return Model_pb2.Model.FromString(data), file.parent


def check_placeholder(data: bytes, member: str | None) -> None:
    """Raise UserError if `data` is a placeholder of a file; `member` is its name if it is one of several in a package."""
    found = placeholder(data)
    if found:
        raise UserError(f"its {member} is {found}" if member else found)


def root_model(package: Path) -> Path:
    """Return the file with the specification of a package.

    Raises:
        UserError: there is no manifest, or it does not name one.
    """
    manifest, items = manifest_items(package)
    root = manifest.get("rootModelIdentifier")
    if not isinstance(root, str) or root not in items:
        raise UserError(f"its {_MANIFEST} names no root model among its items ({root!r})")
    file = items[root]
    if not file.is_file():
        raise UserError(f"its root model {file.relative_to(package)} is missing")
    return file


def manifest_items(package: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the manifest of a package, and the path of every item in it, by identifier.

    Raises:
        UserError: there is no manifest, or an item has no path inside the package.
    """
    try:
        data = (package / _MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"it has no {_MANIFEST}, so it is no Core ML package, or not a whole one") from error
    check_placeholder(data, _MANIFEST)
    try:
        manifest = json.loads(data, object_pairs_hook=_unique)
    except ValueError as error:
        raise UserError(f"its {_MANIFEST} cannot be read ({error})") from error
    entries = manifest.get("itemInfoEntries") if isinstance(manifest, dict) else None
    if not isinstance(entries, dict):
        raise UserError(f"its {_MANIFEST} lists no items")
    return manifest, {identifier: _item_path(package, identifier, entry) for identifier, entry in entries.items()}


def _item_path(package: Path, identifier: str, entry: Any) -> Path:
    name = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise UserError(f"its {_MANIFEST} gives item {identifier!r} no path inside the package ({name!r})")
    return package / "Data" / name


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)
