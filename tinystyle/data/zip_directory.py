"""Reads the directory of a zip, entry by entry, so that one bad entry does not spoil the others.

`zipfile` refuses a whole archive if one name claims to be UTF-8 and is not, or one extra field is damaged. The layout
is that of APPNOTE.TXT, sections 4.3.12 to 4.5.3.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from tinystyle.errors import UserError

__all__ = ["Member", "NotAZipError", "read_directory"]

_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_SIGNATURE = b"PK\x01\x02"
_UTF8 = 0x800
_UNIX = 3
_ZIP64 = 1
_SIZE, _OFFSET, _RECORD = 5, 6, 9
"""Positions in what `zipfile` says of the end of the directory: its size, its offset, and where its end record is."""


class NotAZipError(UserError):
    """The file is not a zip, or is cut off."""


class Member(NamedTuple):
    """A member of a zip, as the directory describes it."""

    name: str
    encrypted: bool
    method: int
    """Compression method."""
    crc: int
    packed: int
    """Size in the zip, in bytes."""
    size: int
    """Size of the file, in bytes."""
    start: int
    """Offset of the member's own header in the zip."""
    mode: int
    """Type and permissions in Unix; 0 if unknown."""

    @property
    def is_folder(self) -> bool:
        """Whether it stands for a folder."""
        return self.name.endswith("/")

    @property
    def is_regular(self) -> bool:
        """Whether it is a plain file, not a link or a device."""
        return stat.S_IFMT(self.mode) in (0, stat.S_IFREG)


def read_directory(uri: str, file: IO[bytes]) -> tuple[list[Member], list[tuple[str, str]], int]:
    """Return the members of a zip, the entries that cannot be read, each with the reason, and where the directory begins.

    Args:
        uri: the zip, for errors.
        file: the zip; only its end is read.

    Raises:
        NotAZipError: it is not a zip, or is cut off.
        OSError: it cannot be read.
    """
    try:
        # The only reader of the end record, which also knows zip64; ZipFile itself would read the entries too.
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    except (zipfile.BadZipFile, struct.error) as error:
        raise NotAZipError(f"{uri} is not a readable zip file: {error}") from error
    if not end:
        file.seek(0)
        cut = file.read(4) == b"PK\x03\x04"
        reason = "truncated: its end is missing; fetch it again" if cut else "not a readable zip file"
        raise NotAZipError(f"{uri} is {reason}")
    # What stands before the zip, such as a program that unpacks it, shifts all offsets.
    begin = end[_RECORD] - end[_SIZE]
    if end[0] == b"PK\x06\x06":  # the end record of zip64 and its locator stand between directory and end record
        begin -= 56 + 20
    shift = begin - end[_OFFSET]
    if begin < 0 or shift < 0:
        raise NotAZipError(f"{uri} is damaged or truncated: its directory is incomplete; fetch it again")
    file.seek(begin)
    members, problems = [], []
    for entry in _entries(file.read(end[_SIZE])):
        if isinstance(entry, Member):
            members.append(entry._replace(start=entry.start + shift))
        else:
            problems.append((entry, "corrupt: zip directory"))
    if problems and not members:
        raise NotAZipError(f"{uri} is damaged: no entry of its directory can be read; fetch it again")
    return members, problems, begin


def _entries(data: bytes) -> Iterator[Member | str]:
    """Yield every member, and a description of each part of the directory that is none."""
    position = number = 0
    while position < len(data):
        number += 1
        found = data.find(_SIGNATURE, position)
        if found != position:
            yield f"entry {number} of the directory"
            if found < 0:
                return
        position = found
        if position + _ENTRY.size > len(data):
            yield f"entry {number} of the directory"
            return
        fields = _ENTRY.unpack_from(data, position)
        flags, method, crc, packed, size = fields[5], fields[6], fields[9], fields[10], fields[11]
        lengths, attributes, start = fields[12:15], fields[17], fields[18]
        mode = attributes >> 16 if fields[2] == _UNIX else 0
        name_at = position + _ENTRY.size
        extra_at = name_at + lengths[0]
        raw, extra = data[name_at:extra_at], data[extra_at : extra_at + lengths[1]]
        position = name_at + sum(lengths)
        size, packed, start = _wide(extra, size, packed, start)
        yield Member(_name(raw, flags), bool(flags & 1), method, crc, packed, size, start, mode)


def _name(raw: bytes, flags: int) -> str:
    """Decode a name; as in folders, bytes that are not of its encoding become \\x and two digits."""
    text = raw.decode("utf-8", "backslashreplace") if flags & _UTF8 else raw.decode("cp437")
    return text.partition("\0")[0]


def _wide(extra: bytes, *narrow: int) -> tuple[int, ...]:
    """Return sizes and offset, those of 4 GiB and more from the zip64 field; a damaged field is passed over."""
    values = list(narrow)
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind != _ZIP64:
            continue
        for place, value in enumerate(values):
            if value == 0xFFFFFFFF and len(field) >= 8:
                values[place], field = struct.unpack_from("<Q", field)[0], field[8:]
    return tuple(values)
