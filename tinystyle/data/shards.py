"""Shards: Arrow IPC files of JPEG photos, and a dataset of shards with random access.

A shard never changes once it is written; a dataset grows by additional shards and a new manifest.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray

from tinystyle.data import storage
from tinystyle.data.cache import hold_if_cached
from tinystyle.data.decode import PreparedPhoto
from tinystyle.data.fetch import sync
from tinystyle.data.images import decoder
from tinystyle.data.manifest import FORMAT, Manifest, Quarantined, ShardInfo, damaged_shard
from tinystyle.errors import UserError

__all__ = [
    "Manifest",
    "ShardDataset",
    "ShardIndex",
    "ShardRow",
    "encode_shard",
    "evenly_spaced",
    "holds_out",
    "read_index",
    "read_photos",
    "sync",
]

_METADATA = b"tinystyle"
_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("jpeg", pa.large_binary()),  # plain binary is limited to 2 GiB per shard
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("held_out", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A photo to be written to a shard."""

    name: str
    photo: PreparedPhoto
    held_out: bool


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """Content of a shard, except the photos."""

    size: int
    source: str
    names: list[str]
    sha256: list[str]
    held_out: list[bool]
    quarantined: list[Quarantined]
    states: dict[str, str] = field(default_factory=dict)
    """State of each file of the source, quarantined ones too, when it was listed, as in `zip_members.Entry`."""
    decoder: str = ""
    """What decoded the photos, as in `images.decoder`."""


def holds_out(sha256: str) -> bool:
    """Return whether a photo is held out from training: one in twenty, determined by the hash of its pixels alone.

    Args:
        sha256: hexadecimal, as in `PreparedPhoto.sha256`.
    """
    return int(sha256, 16) % 20 == 0


def encode_shard(
    rows: Sequence[ShardRow],
    quarantined: Sequence[Quarantined],
    size: int,
    source: str,
    states: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of a shard file; the same content gives the same bytes.

    Args:
        rows: the photos, in order.
        quarantined: files of the source that could not be used, to be recorded in the shard.
        size: short side of the photos in pixels.
        source: where the photos come from.
        states: see `ShardIndex`.
    """
    about = {
        "format": FORMAT,
        "size": size,
        "source": source,
        "quarantined": [entry.model_dump() for entry in quarantined],
        "states": dict(states or {}),
        "decoder": decoder(),
    }
    schema = _SCHEMA.with_metadata({_METADATA: json.dumps(about, sort_keys=True).encode()})
    columns = [
        [row.name for row in rows],
        [row.photo.jpeg for row in rows],
        [row.photo.sha256 for row in rows],
        [row.photo.width for row in rows],
        [row.photo.height for row in rows],
        [row.held_out for row in rows],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_index(file: Any) -> ShardIndex:
    """Read the index of a shard from an Arrow or Python file, without the bytes of the photos.

    Raises:
        ValueError, KeyError, TypeError: it is damaged, or not a shard.
    """
    columns = [_SCHEMA.get_field_index(name) for name in ("name", "sha256", "held_out")]
    reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=columns))
    about = json.loads((reader.schema.metadata or {})[_METADATA])
    batch = reader.get_batch(0)
    return ShardIndex(
        size=about["size"],
        source=about["source"],
        names=batch.column("name").to_pylist(),
        sha256=batch.column("sha256").to_pylist(),
        held_out=batch.column("held_out").to_pylist(),
        quarantined=[Quarantined(**entry) for entry in about["quarantined"]],
        states=dict(about.get("states", {})),  # none in shards of earlier versions
        decoder=about.get("decoder", ""),
    )


def read_photos(data: bytes) -> list[tuple[str, PreparedPhoto]]:
    """Return every photo of a shard file, with its name.

    Raises:
        ValueError: it is damaged, or not a shard.
    """
    with pa.ipc.open_file(pa.BufferReader(data)) as reader:
        rows = reader.get_batch(0).to_pylist()
    return [(row["name"], PreparedPhoto(row["jpeg"], row["sha256"], row["width"], row["height"])) for row in rows]


class ShardDataset:
    """A local shard dataset, memory-mapped. Photos have indices 0..len-1, in the order of the shards.

    Pickles as its path, so that each worker process opens its own. While it exists, a dataset in the cache is not
    removed.

    Args:
        path: folder with manifest.json and the shards.

    Raises:
        UserError: it is not a dataset, or is incomplete or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if (lock := hold_if_cached(self.path)) is not None:
            weakref.finalize(self, os.close, lock)
        self.manifest = Manifest.read(self.path)
        self._starts = list(itertools.accumulate((shard.count for shard in self.manifest.shards), initial=0))
        self._batches = [self._open(shard) for shard in self.manifest.shards]
        flags = [flag for batch in self._batches for flag in batch.column("held_out").to_pylist()]
        self.held_out = [index for index, held in enumerate(flags) if held]
        """Indices of the photos that are never used for training."""
        self.training = [index for index, held in enumerate(flags) if not held]
        """Indices of all other photos."""

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return the photo's RGB pixels, (H, W, 3) uint8, min(H, W) == manifest.size."""
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            np.frombuffer(self._value("jpeg", index).as_buffer(), np.uint8), "RGB", fastdct=False, fastupsample=False
        )
        return pixels

    def jpeg(self, index: int) -> bytes:
        """Return the photo as a JPEG file."""
        data: bytes = self._value("jpeg", index).as_py()
        return data

    def name(self, index: int) -> str:
        """Return the photo's name in the source."""
        name: str = self._value("name", index).as_py()
        return name

    def verify(self) -> None:
        """Compare every shard with its checksum.

        Raises:
            UserError: a shard differs.
        """
        for shard in self.manifest.shards:
            if storage.sha256(self.path / shard.file) != shard.sha256:
                raise UserError(damaged_shard(self.path / shard.file))

    def __reduce__(self) -> tuple[type[ShardDataset], tuple[Path]]:
        return type(self), (self.path,)

    def _open(self, shard: ShardInfo) -> Any:
        path = self.path / shard.file
        if not path.is_file():
            raise UserError(f"{self.path} is incomplete: {shard.file} is missing; fetch or ingest the dataset again")
        if path.stat().st_size != shard.bytes:
            raise UserError(damaged_shard(path))
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
            batch.validate()
        except pa.ArrowInvalid as error:
            raise UserError(damaged_shard(path)) from error
        if batch.num_rows != shard.count or not batch.schema.equals(_SCHEMA):
            raise UserError(damaged_shard(path))
        return batch

    def _value(self, column: str, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"photo {index} of {len(self)}")
        # A shard without photos starts at the same index as the next one; bisect_right skips it.
        shard = bisect.bisect_right(self._starts, index) - 1
        return self._batches[shard].column(column)[index - self._starts[shard]]


def evenly_spaced(indices: list[int], count: int) -> list[int]:
    """Return at most `count` of `indices`, evenly spaced, including the first."""
    return [indices[i * len(indices) // count] for i in range(count)] if len(indices) > count else indices
