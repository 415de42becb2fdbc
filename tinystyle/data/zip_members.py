"""The files at a source of photos as a listing finds them, and those inside a zip, each read as one range of bytes."""

from __future__ import annotations

import bisect
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from tinystyle.data.decode import MAX_BYTES, Unusable
from tinystyle.errors import UserError

__all__ = ["FOLDER", "NOT_REGULAR", "Entry", "NotAZipError", "list_zip", "named_like_an_image", "refuse_large"]

_IMAGE_SUFFIXES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
FOLDER = "a folder, not a file"
NOT_REGULAR = "not a regular file"
_ZIP_HEADER = struct.Struct("<26xHH")  # header of a member; ends with the lengths of its name and of its extra field
_ZIP_HEADER_MOST = 30 + 2 * 0xFFFF

Fetch = Callable[[int, int], bytes]
"""Takes the first byte, and the one after the last; returns that range of a file."""


class Entry(NamedTuple):
    """A file at a source of photos."""

    state: str
    """Changes when the file does, as far as a listing can tell."""
    read: Callable[[], bytes]


def named_like_an_image(name: str) -> bool:
    """Return whether a name ends like that of an image, in upper or lower case."""
    return PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES


def refuse_large(size: int) -> None:
    """Raise `Unusable` for a file of more bytes than any photo has."""
    if size > MAX_BYTES:
        raise Unusable(f"too large: {size} bytes")


class NotAZipError(UserError):
    """The file is not a zip, or is cut off."""


def list_zip(uri: str, file: IO[bytes], fetch: Fetch) -> tuple[dict[str, Entry], list[tuple[str, str]]]:
    """Return the members of a zip by name, and the names of those that are no files, each with the reason.

    Args:
        uri: the zip, for errors.
        file: the zip, of which the directory at its end is read.
        fetch: reads ranges of it later, from any thread.

    Raises:
        NotAZipError: it is not a zip.
        OSError: it cannot be read.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        if isinstance(error.__context__, OSError):  # it could not be read, which zipfile does not tell apart
            raise error.__context__ from None
        raise NotAZipError(f"{uri} is not a readable zip file") from error
    members = archive.infolist()
    ends = [*sorted({member.header_offset for member in members}), archive.start_dir]
    entries: dict[str, Entry] = {}
    problems: list[tuple[str, str]] = []
    for member in members:
        name = member.filename.rstrip("/")
        if member.is_dir():
            if named_like_an_image(name):
                problems.append((name, FOLDER))
        elif stat.S_ISLNK(member.external_attr >> 16):
            problems.append((name, NOT_REGULAR))
        else:
            end = ends[bisect.bisect_right(ends, member.header_offset, hi=len(ends) - 1)]
            end = min(end, member.header_offset + _ZIP_HEADER_MOST + member.compress_size)
            state = f"{member.file_size} {member.CRC}"
            entries[name] = Entry(state, partial(_read_member, fetch, member, end))
    return entries, problems


def _read_member(fetch: Fetch, member: zipfile.ZipInfo, end: int) -> bytes:
    refuse_large(max(member.file_size, member.compress_size))
    if member.flag_bits & 1:
        raise Unusable("encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unusable("unsupported zip compression")
    raw = fetch(member.header_offset, end)
    try:
        start = 30 + sum(_ZIP_HEADER.unpack_from(raw))
        data = raw[start : start + member.compress_size]
        if member.compress_type == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.file_size + 1)
    except (struct.error, zlib.error) as error:
        raise Unusable("corrupt: zip entry") from error
    if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
        raise Unusable("corrupt: zip checksum")
    return data
