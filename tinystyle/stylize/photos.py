"""Finds the photos that the arguments mean. `targets` says where their stylized versions go."""

from __future__ import annotations

import glob
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image, UnidentifiedImageError

from tinystyle.data import remote, storage
from tinystyle.data.addresses import public, shown
from tinystyle.data.file_kinds import EXTRA_SUFFIXES, FORMATS
from tinystyle.data.images import open_header
from tinystyle.data.reasons import Refused, Unusable
from tinystyle.errors import UserError

__all__ = ["STANDARD_STREAM", "Photo", "find_photos", "header_size"]

_LOG = logging.getLogger(__name__)

STANDARD_STREAM = "-"


@dataclass(frozen=True)
class Photo:
    """A photo that exists, but may turn out not to be decodable."""

    source: str
    """Path, URI, or "standard input"."""
    stem: str
    """File name without folder and suffix."""
    size: tuple[int, int] | None = None
    """(width, height) as stored, before it is turned upright; None if unknown without reading the whole file."""
    data: bytes | None = None
    """Content of the file, if it has been read already."""

    @property
    def path(self) -> Path | None:
        """Path of a local file; None for what is read from elsewhere, or from a pipe."""
        if self.data is not None or storage.is_remote(self.source):
            return None
        path = storage.local_path(self.source)
        return path if path.is_file() else None

    def read(self) -> bytes:
        """Return the content of the file.

        Raises:
            OSError: it cannot be read.
        """
        return storage.read_bytes(self.source) if self.data is None else self.data


def find_photos(arguments: Sequence[str | Path]) -> list[Photo]:
    """List the photos that the arguments name, in order; those of a folder or pattern are sorted by name.

    Args:
        arguments: files, URIs, folders (the images directly in them), glob patterns (`**` for any folders), and "-" for
            standard input. In a folder or pattern, hidden files and files that are not images are left out.

    Raises:
        UserError: there are no arguments, a photo is missing, or a folder or pattern has no image.
        OSError: a folder cannot be listed.
    """
    if not arguments:
        raise UserError("no photos given; name at least one")
    return [photo for argument in map(str, arguments) for photo in _find(argument)]


def _find(argument: str) -> list[Photo]:
    if argument == STANDARD_STREAM:
        if sys.stdin.isatty():
            raise UserError("- reads the photo from standard input, which is a terminal; redirect a file into it")
        data = sys.stdin.buffer.read()
        return [Photo("standard input", "stdin", header_size(BytesIO(data)), data)]
    return (_find_remote if storage.is_remote(argument) else _find_local)(argument)


def _find_local(argument: str) -> list[Photo]:
    path = storage.local_path(argument)
    if path.is_dir():
        found = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    elif path.exists():
        # The size of a pipe cannot be read beforehand: that would consume it.
        return [Photo(argument, path.stem, header_size(path) if path.is_file() else None)]
    elif glob.has_magic(argument):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 (or absolute)
    else:
        raise UserError(f"{argument}: no such photo")
    photos, others = [], []
    for entry in found:
        if entry.is_file():
            try:
                photos.append(Photo(str(entry), entry.stem, header_size(entry, strict=True)))
            except Refused as error:
                others.append(f"{entry.name} ({error.kind}; {error.advice})")
            except (Unusable, UnidentifiedImageError):
                others.append(entry.name)
    return _some(photos, others, argument)


def _find_remote(argument: str) -> list[Photo]:
    web = storage.is_web(argument)  # cannot be listed
    path = PurePosixPath(public(argument))
    if not storage.exists(argument):
        if web or not glob.has_magic(argument):
            raise UserError(f"{shown(argument)}: no such photo")
        listing = _listed(argument, "glob")
    elif not web and remote.call(argument, "isdir"):
        listing = _listed(argument, "ls")
    else:
        return [Photo(argument, path.stem or "photo")]
    # By suffix, unlike local files: reading their headers would fetch them all.
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS} | EXTRA_SUFFIXES
    files = {uri: PurePosixPath(uri) for uri in listing}
    images = {uri: file for uri, file in files.items() if file.suffix.lower() in suffixes}
    others = [file.name for uri, file in files.items() if uri not in images]
    photos = [Photo(uri, file.stem) for uri, file in images.items() if not file.name.startswith(".")]
    return _some(photos, others, argument)


def _listed(argument: str, method: str) -> list[str]:
    """Return the sorted URIs of the files that a listing by a method of fsspec finds; a key stays as it is."""
    filesystem, key = remote.file_system(argument)
    with remote.naming(argument):
        found = remote.retrying(partial(getattr(filesystem, method), key, detail=True))
    entries = found.values() if isinstance(found, dict) else found
    names = (entry["name"] for entry in entries if entry["type"] == "file" and not entry["name"].endswith("/"))
    return [str(filesystem.unstrip_protocol(name)) for name in sorted(names)]


def _some(photos: list[Photo], others: list[str], argument: str) -> list[Photo]:
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    listed = f"{', '.join(others[:5])}{more}"
    if not photos:
        raise UserError(f"{argument}: there is no readable image{f' among {listed}' if others else ''}")
    if others:
        _LOG.warning("%s: skipped, as they are not images that can be read: %s", argument, listed)
    return photos


def header_size(file: Path | BytesIO, *, strict: bool = False) -> tuple[int, int] | None:
    """Return (width, height) from the header; None if it cannot be read.

    If `strict`, raise Unusable or UnidentifiedImageError for a file that is not an image, or of a kind that is not read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_header(file) as image:
                return image.size
        except (Unusable, UnidentifiedImageError):
            if strict:
                raise
        except Exception:  # damaged, or of an unsupported kind: decoding will report it
            pass
    return None
