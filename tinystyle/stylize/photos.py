"""Finds the photos that the arguments mean, and names the results: everything that can be rejected before any work."""

from __future__ import annotations

import glob
import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError

from tinystyle.data import remote, storage
from tinystyle.data.images import FORMATS
from tinystyle.errors import UserError

__all__ = ["STANDARD_STREAM", "Photo", "find_photos", "name_results"]

_LOG = logging.getLogger(__name__)

STANDARD_STREAM = "-"
_HTTP = ("http://", "https://")


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


def name_results(photos: Iterable[Photo], out: Path) -> list[Path]:
    """Return the path of the PNG in the folder `out` for each photo.

    Raises:
        UserError: two PNGs would have the same path, or one would overwrite a photo.
    """
    photos, sources = list(photos), {}
    for photo in photos:
        if photo.data is None and not storage.is_remote(photo.source):
            sources[storage.local_path(photo.source).resolve()] = photo.source
    targets: dict[str, str] = {}
    for photo in photos:
        # Many file systems do not distinguish a.png from A.png.
        if other := targets.get(photo.stem.casefold()):
            raise UserError(
                f"{other} and {photo.source} would both become {photo.stem}.png; stylize them into two folders"
            )
        targets[photo.stem.casefold()] = photo.source
        if source := sources.get((out / f"{photo.stem}.png").resolve()):
            raise UserError(f"{source}: would be overwritten by its stylized version; give another folder")
    return [out / f"{photo.stem}.png" for photo in photos]


def _find(argument: str) -> list[Photo]:
    if argument == STANDARD_STREAM:
        if sys.stdin.isatty():
            raise UserError("- reads the photo from standard input, which is a terminal; redirect a file into it")
        data = sys.stdin.buffer.read()
        return [Photo("standard input", "stdin", _size(BytesIO(data)), data)]
    return (_find_remote if storage.is_remote(argument) else _find_local)(argument)


def _find_local(argument: str) -> list[Photo]:
    path = storage.local_path(argument)
    if path.is_dir():
        found = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    elif path.exists():
        # The size of a pipe cannot be read beforehand: that would consume it.
        return [Photo(argument, path.stem, _size(path) if path.is_file() else None)]
    elif glob.has_magic(argument):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 (or absolute)
    else:
        raise UserError(f"{argument}: no such photo")
    photos, others = [], []
    for entry in found:
        if entry.is_file():
            try:
                photos.append(Photo(str(entry), entry.stem, _size(entry, strict=True)))
            except UnidentifiedImageError:
                others.append(entry.name)
    return _some(photos, others, argument)


def _find_remote(argument: str) -> list[Photo]:
    if argument.startswith(_HTTP):  # cannot be listed; what follows "?" is a query or a signature
        path, pattern = urlsplit(argument).path, None
    else:
        path, pattern = argument, argument if glob.has_magic(argument) else None
    if not storage.exists(argument):
        if pattern is None:
            raise UserError(f"{argument}: no such photo")
    elif not argument.startswith(_HTTP) and remote.call(argument, "isdir"):
        pattern = storage.join(argument, "*")
    else:
        return [Photo(argument, PurePosixPath(path).stem or "photo")]
    filesystem, key = remote.file_system(pattern or argument)
    listing = remote.retrying(partial(filesystem.glob, key, detail=True))
    files = [PurePosixPath(name) for name in sorted(listing) if listing[name]["type"] == "file"]
    # By suffix, unlike local files: reading their headers would fetch them all.
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    images = [file for file in files if file.suffix.lower() in suffixes and not file.name.startswith(".")]
    others = [file.name for file in files if file.suffix.lower() not in suffixes]
    photos = [Photo(filesystem.unstrip_protocol(str(file)), file.stem) for file in images]
    return _some(photos, others, argument)


def _some(photos: list[Photo], others: list[str], argument: str) -> list[Photo]:
    if not photos:
        raise UserError(f"{argument}: there is no readable image")
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        _LOG.warning("%s: skipped, as they are not images: %s%s", argument, ", ".join(others[:5]), more)
    return photos


def _size(file: Path | BytesIO, *, strict: bool = False) -> tuple[int, int] | None:
    """Return (width, height) from the header; None if it cannot be read.

    If `strict`, raise UnidentifiedImageError for a file that is not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=FORMATS) as image:
                return image.size
        except UnidentifiedImageError:
            if strict:
                raise
        except Exception:  # damaged, or of an unsupported kind: decoding will report it
            pass
    return None
