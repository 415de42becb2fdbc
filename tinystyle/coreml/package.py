"""Writes .mlpackage folders atomically, and hashes the content of Core ML files. Does not depend on networks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinystyle.data import storage

__all__ = ["atomic_folder", "content_bytes", "content_sha256", "write_package"]

_PACKAGE_FILES = (  # path below Data/com.apple.CoreML, description
    ("model.mlmodel", "CoreML Model Specification"),
    ("weights", "CoreML Model Weights"),
)


def write_package(path: Path, model: bytes, weights: Path) -> None:
    """Write an .mlpackage from a serialized Model protobuf and a folder of weight files; replaces an existing one."""
    with atomic_folder(path) as folder:
        data = folder / "Data" / "com.apple.CoreML"
        data.mkdir(parents=True)
        shutil.copytree(weights, data / "weights")
        (data / "model.mlmodel").write_bytes(model)
        (folder / "Manifest.json").write_text(json.dumps(_manifest(), indent=4, sort_keys=True) + "\n")


def content_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a Core ML file.

    For an .mlpackage, it is the SHA-256 of a text with a line "SHA-256, two spaces, relative path" for every file,
    sorted by path: what `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` prints in that folder.
    """
    if path.is_file():
        return storage.sha256(path)
    names = sorted(file.relative_to(path).as_posix() for file in _files(path))
    lines = "".join(f"{storage.sha256(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def content_bytes(path: Path) -> int:
    """Return the size of a Core ML file, or of all files in an .mlpackage, in bytes."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else _files(path)))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _manifest() -> dict[str, Any]:
    # The format requires UUIDs that differ within one package; they need not differ between packages.
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


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` to fill; it replaces `path` if the block succeeds, and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        yield new
        for file in _files(new):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        # A folder with content cannot be renamed over: move the old one aside, and back if the new one cannot follow.
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
