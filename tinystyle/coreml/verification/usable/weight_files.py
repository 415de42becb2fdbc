"""The weight files of an ML Program: that references, metadata and data fit each other, and that nothing is left over.

The format is that of coremltools' MILBlob/Blob/StorageFormat.hpp: a header of 64 bytes, then for every value 64 bytes of
metadata and its data, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinystyle.coreml.verification.usable.messages import submessages

__all__ = ["has_files", "weight_file_faults"]

_ALIGNMENT = 64
_SENTINEL = 0xDEADBEEF
_HEADER, _METADATA = struct.Struct("<II56s"), struct.Struct("<IIQQQ32s")
_PREFIX = "@model_path/"
# DataType of MIL.proto -> (type in a weight file, bits per value).
_TYPES = {10: (1, 16), 11: (2, 32), 31: (3, 8), 21: (4, 8), 22: (6, 16), 32: (7, 16), 25: (8, 4), 37: (9, 1), 36: (10, 2),
          35: (11, 4), 39: (12, 3), 38: (13, 6), 23: (14, 32), 33: (15, 32)}  # fmt: skip


class _Blob(NamedTuple):
    type: int
    bytes: int
    padding_bits: int


def has_files(program: Any) -> bool:
    """Return whether a program refers to weight files at all."""
    return next(_references(program), None) is not None


def weight_file_faults(program: Any, folder: Path) -> Iterator[str]:
    """Yield what is wrong with the files that a program refers to.

    Args:
        program: MIL `Program` protobuf.
        folder: folder of the package to which references relate.
    """
    references = list(_references(program))
    used: set[str] = set()
    for value in references:
        name = value.blobFileValue.fileName
        relative = name.removeprefix(_PREFIX)
        if relative == name or ".." in relative.split("/") or relative.startswith("/"):
            yield f"a constant is in the file {name!r}, which is none of the package's"
        used.add(relative)
    for name in sorted(used):
        if not (folder / name).is_file():
            yield f"its file {name} is missing"
        data = (folder / name).read_bytes()
        blobs: dict[int, _Blob] = {}
        yield from _file_faults(data, name, blobs)
        for value in references:
            if value.blobFileValue.fileName == _PREFIX + name:
                yield from _reference_faults(value, name, blobs)
    for path in sorted((folder / "weights").rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in used and not path.name.startswith("."):
            yield f"its file {path.relative_to(folder).as_posix()} is used by nothing"


def _references(message: Any) -> Iterator[Any]:
    """Yield every `Value` that is stored in a file."""
    if message.DESCRIPTOR.name == "Value" and message.HasField("blobFileValue"):
        yield message
    for _, part in submessages(message):
        yield from _references(part)


def _file_faults(data: bytes, name: str, blobs: dict[int, _Blob]) -> Iterator[str]:
    """Walk through a file, and store its blobs by their offsets."""
    if len(data) < _HEADER.size:
        yield f"its file {name} is cut off in its header"
        return
    count, version, reserved = _HEADER.unpack_from(data)
    if version != 2 or any(reserved):
        yield f"its file {name} has a header of another format (version {version})"
    offset = end = _HEADER.size
    while len(blobs) < count:
        if any(data[end:offset]):
            yield f"its file {name} holds bytes before {offset} that belong to nothing"
        if offset + _METADATA.size > len(data):
            yield f"its file {name} ends before value {len(blobs) + 1} of {count}"
            return
        sentinel, kind, size, start, padding, rest = _METADATA.unpack_from(data, offset)
        if sentinel != _SENTINEL or start != offset + _METADATA.size or any(rest):
            yield f"its file {name} has damaged metadata at {offset}"
            return
        end = start + size
        if end > len(data):
            yield f"its file {name} ends within the value at {offset}"
            return
        blobs[offset] = _Blob(kind, size, padding)
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
    if any(data[end:]) or len(data) > offset:
        yield f"its file {name} has {len(data) - end} bytes after its last value"


def _reference_faults(value: Any, name: str, blobs: dict[int, _Blob]) -> Iterator[str]:
    offset, kind = value.blobFileValue.offset, value.type.tensorType
    blob = blobs.get(offset)
    if blob is None:
        yield f"a constant is at {offset} of {name}, where no value begins"
        return
    if kind.dataType not in _TYPES:
        yield f"a constant of MIL's data type {kind.dataType} is in {name}"
        return
    expected, bits = _TYPES[kind.dataType]
    total = bits * int(np.prod([dimension.constant.size for dimension in kind.dimensions], dtype=np.int64))
    if blob != (expected, -(-total // 8), -total % 8):
        yield f"the value at {offset} of {name} is of another type or size than its constant declares"
