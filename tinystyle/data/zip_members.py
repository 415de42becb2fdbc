"""The files at a source of photos as a listing finds them, and those inside a zip, each read as one range of bytes."""

from __future__ import annotations

import bisect
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from tinystyle.data.decode import MAX_BYTES, Unusable
from tinystyle.data.file_kinds import EXTRA_SUFFIXES
from tinystyle.data.zip_directory import Member, read_directory

__all__ = ["FOLDER", "NOT_REGULAR", "Entry", "list_zip", "named_like_an_image", "refuse_large"]

_IMAGE_SUFFIXES = {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"} | EXTRA_SUFFIXES
FOLDER = "a folder, not a file"
NOT_REGULAR = "not a regular file"
_ZIP_HEADER = struct.Struct("<26xHH")  # header of a member; ends with the lengths of its name and of its extra field
_ZIP_HEADER_LEAST, _ZIP_HEADER_MOST = 30, 30 + 2 * 0xFFFF
_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 1 << 26, 100
"""A member of more bytes, packed more tightly than that, is no photo; many are unpacked at the same time."""

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


def list_zip(uri: str, file: IO[bytes], fetch: Fetch) -> tuple[dict[str, Entry], list[tuple[str, str]]]:
    """Return the members of a zip by name, and the names of those that are no files, each with the reason.

    Of two members of one name the later one counts, as when the zip is unpacked.

    Args:
        uri: the zip, for errors.
        file: the zip, of which the directory at its end is read.
        fetch: reads ranges of it later, from any thread.

    Raises:
        NotAZipError: it is not a zip.
        OSError: it cannot be read.
    """
    members, problems, directory = read_directory(uri, file)
    ends = [*sorted({member.start for member in members if member.start < directory}), directory]
    entries: dict[str, Entry] = {}
    for member in members:
        name = member.name.rstrip("/")
        if member.is_folder:
            if named_like_an_image(name):
                problems.append((name, FOLDER))
        elif not member.is_regular:
            problems.append((name, NOT_REGULAR))
        else:
            if name in entries:
                problems.append((f"{name} (an earlier member)", "replaced by a later member of this name"))
            # The next one that begins where this one may end: an entry may lie about where it is.
            after = member.start + _ZIP_HEADER_LEAST + member.packed
            end = ends[bisect.bisect_left(ends, after, hi=len(ends) - 1)]
            end = min(end, member.start + _ZIP_HEADER_MOST + member.packed)
            entries[name] = Entry(f"{member.size} {member.crc}", partial(_read_member, fetch, member, end))
    return entries, problems


def _read_member(fetch: Fetch, member: Member, end: int) -> bytes:
    refuse_large(max(member.size, member.packed))
    if member.size > _SUSPICIOUS_BYTES and member.size > _SUSPICIOUS_RATIO * member.packed:
        raise Unusable(f"decompression bomb: {member.size} bytes packed into {member.packed}")
    if member.encrypted:
        raise Unusable("encrypted")
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unusable("unsupported zip compression")
    if member.start >= end:
        raise Unusable("corrupt: zip entry")
    raw = fetch(member.start, end)
    try:
        start = 30 + sum(_ZIP_HEADER.unpack_from(raw))
        data = raw[start : start + member.packed]
        if member.method == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
    except (struct.error, zlib.error) as error:
        raise Unusable("corrupt: zip entry") from error
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise Unusable("corrupt: zip checksum")
    return data
