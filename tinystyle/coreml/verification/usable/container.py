"""The container of a Core ML file: its name, and the manifest and the files of a package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tinystyle.coreml.evaluator.saved_file import manifest_items, root_model

__all__ = ["container_faults"]

_AUTHOR, _WEIGHTS = "com.apple.CoreML", "weights"
_VERSION = "1.0.0"


def container_faults(path: Path, *, is_program: bool, has_weights: bool) -> Iterator[str]:
    """Yield what is wrong with the container.

    Args:
        path: `.mlmodel` or `.mlpackage`.
        is_program: whether the model is an ML Program.
        has_weights: whether it refers to files with weights.
    """
    suffix = ".mlpackage" if path.is_dir() else ".mlmodel"
    if path.suffix.lower() != suffix:
        yield f"its name does not end in {suffix}, so Xcode and Core ML do not take it for what it is"
    if path.is_dir():
        yield from _manifest_faults(path, has_weights)
        yield from _file_faults(path)
    elif is_program:
        yield "it is an ML Program in a file of its own, and Core ML takes those in an .mlpackage only"


def _manifest_faults(package: Path, has_weights: bool) -> Iterator[str]:
    manifest, items = manifest_items(package)
    version = manifest.get("fileFormatVersion")
    if version != _VERSION:
        yield f"its manifest is of version {version!r}, and tools read {_VERSION}"
    seen: dict[object, str] = {}
    for identifier, path in items.items():
        entry = manifest["itemInfoEntries"][identifier]
        for key in ("name", "author", "description"):
            if not isinstance(entry.get(key), str):
                yield f"its manifest gives item {identifier} no {key}"
        if not path.exists():
            yield f"its item {path.relative_to(package)} is missing"
        for same in (path, (entry.get("name"), entry.get("author"))):
            if same in seen:
                yield f"its manifest lists items {seen[same]} and {identifier} under one name or path"
            seen[same] = identifier
    if has_weights:
        named = {
            (entry.get("author"), entry.get("name")): items[name] for name, entry in manifest["itemInfoEntries"].items()
        }
        if (_AUTHOR, _WEIGHTS) not in named:
            yield f"its manifest has no item for its weights ({_AUTHOR}, {_WEIGHTS}), which are not found without it"
        elif named[_AUTHOR, _WEIGHTS] != root_model(package).parent / _WEIGHTS:
            yield f"its manifest has the weights at {named[_AUTHOR, _WEIGHTS].relative_to(package)}, not beside the model"


def _file_faults(package: Path) -> Iterator[str]:
    """Yield files that the manifest does not lead to, and those that do not survive a copy to another machine."""
    _, items = manifest_items(package)
    listed = {path.relative_to(package) for path in items.values()} | {Path("Manifest.json")}
    spelled: dict[str, Path] = {}
    for folder, folders, files in os.walk(package):
        for name in (*folders, *files):
            path = Path(folder, name).relative_to(package)
            if Path(folder, name).is_symlink():
                yield f"its {path} is a link, which leads nowhere on another machine"
            if (other := spelled.setdefault(str(path).lower(), path)) != path:
                yield f"its {other} and {path} are one file where case does not count, as on macOS"
            # What Finder leaves behind is no part of a package, and no tool minds it.
            left_behind = name.startswith("._") or name == ".DS_Store"
            if name in files and not left_behind and not listed & {path, *path.parents}:
                yield f"its manifest does not list {path}"
