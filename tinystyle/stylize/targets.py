"""Says where each stylized photo is written, and in which format: everything that can be rejected before any work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tinystyle.data import storage
from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError
from tinystyle.stylize.formats import DEFAULT, FORMATS, SUFFIXES, format_of_suffix
from tinystyle.stylize.photos import STANDARD_STREAM, Photo

__all__ = ["Target", "find_targets", "refuse_overwriting"]

_LIKE_A_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,10}")
"""What makes a name that of a file; 2024.10 and v1.2 are names of folders."""


class Target(NamedTuple):
    """Where a stylized photo is written."""

    path: Path | None
    """None is standard output."""
    format: str
    """A key of `formats.FORMATS`."""


def find_targets(photos: Sequence[Photo], out: str | Path, format_: str | None = None) -> list[Target]:
    """Return the target of each photo.

    Args:
        photos: at least one.
        out: a folder; the file for a single photo, whose suffix is one of `SUFFIXES`; or "-" for standard output. A name
            that ends in "/" is a folder, whatever its suffix.
        format_: a key of `FORMATS`; by default that of the suffix, or PNG.

    Raises:
        UserError: `out` is neither, is an address, or a file where a folder is meant or the other way around; the
            format is unknown or not that of the suffix; two files would have the same path; a photo would be
            overwritten.
    """
    if format_ is not None and format_ not in FORMATS:
        raise UserError(f"`format` {format_!r}: choose one of {', '.join(FORMATS)}")
    if str(out) == STANDARD_STREAM:
        return [_standard_output(photos, format_ or DEFAULT)]
    name = str(out)
    path = local_only(out, "`out`")
    asked = None if name.endswith("/") else _format_of_file(path, name)
    if asked is None:
        return _in_folder(photos, path, format_ or DEFAULT)
    if len(photos) != 1:
        raise UserError(f"{name}: is one file, and there are {len(photos)} photos; give a folder for them")
    if format_ not in (None, asked):
        raise UserError(f"{name}: is the name of a {FORMATS[asked]} file; leave out `format`, or change the suffix")
    refuse_overwriting(photos, [path])
    return [Target(path, asked)]


def _standard_output(photos: Sequence[Photo], format_: str) -> Target:
    if len(photos) != 1:
        raise UserError(f"standard output takes one photo, not {len(photos)}; give a folder for them")
    if sys.stdout.isatty():
        raise UserError("standard output is a terminal; redirect it to a file, or give a folder")
    return Target(None, format_)


def _format_of_file(path: Path, name: str) -> str | None:
    """Return the format of the file that `path` names; None if it is a folder."""
    format_ = format_of_suffix(path)
    if path.is_dir():
        if format_:
            raise UserError(f"{name}: is a folder; give the name of a file, or {name}/ to write into the folder")
        return None
    if format_:
        return format_
    if path.exists():
        raise UserError(f"{name}: is a file; give a folder, or a file that ends in {_suffixes()}")
    if _LIKE_A_SUFFIX.fullmatch(path.suffix):
        raise UserError(f"{name}: {path.suffix} files are not written; use {_suffixes()}, or {name}/ for a folder")
    return None


def _suffixes() -> str:
    *some, last = SUFFIXES
    return f"{', '.join(some)} or {last}"


def _in_folder(photos: Sequence[Photo], folder: Path, format_: str) -> list[Target]:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; give a folder for the stylized photos")
    suffix = next(suffix for suffix, name in SUFFIXES.items() if name == format_)
    targets: dict[str, str] = {}
    for photo in photos:
        # Many file systems do not distinguish a.png from A.png.
        if other := targets.get(photo.stem.casefold()):
            raise UserError(
                f"{other} and {photo.source} would both become {photo.stem}{suffix}; stylize them into two folders"
            )
        targets[photo.stem.casefold()] = photo.source
    paths = [folder / f"{photo.stem}{suffix}" for photo in photos]
    refuse_overwriting(photos, paths)
    return [Target(path, format_) for path in paths]


def refuse_overwriting(photos: Iterable[Photo], paths: Iterable[Path]) -> None:
    """Raise UserError if a result at one of `paths` would replace one of the photos."""
    sources = {}
    for photo in photos:
        if photo.data is None and not storage.is_remote(photo.source):
            sources[_identity(storage.local_path(photo.source))] = photo.source
    for path in paths:
        if source := sources.get(_identity(path)):
            raise UserError(f"{source}: would be overwritten by the result; give another folder or name")


def _identity(path: Path) -> tuple[int, int] | Path:
    """Return what is equal for two names of one file: links, and names that differ in what the file system ignores."""
    try:
        status = path.stat()
    except OSError:
        return path.resolve()
    return status.st_dev, status.st_ino
