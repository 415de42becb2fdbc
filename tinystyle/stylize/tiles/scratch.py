"""Arrays in temporary files, of which a process has only the region in memory that it reads or writes."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Mapping", "Region", "Scratch", "tiles"]


class Region(NamedTuple):
    """A rectangle of an array, in pixels: rows `top` to `bottom`, columns `left` to `right`, without the last."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left


def tiles(height: int, width: int, side: int) -> Iterator[Region]:
    """Yield the tiles of an array, row by row; those at the right and at the bottom may be smaller."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Region(top, min(height, top + side), left, min(width, left + side))


class Scratch:
    """A (height, width, channels) array in a temporary file without a name, which ends with this object.

    It is read and written, not mapped, so that its pages do not count as memory of the process, and a full disk is an
    OSError rather than a signal.
    """

    def __init__(self, height: int, width: int, channels: int, dtype: DTypeLike = np.uint8) -> None:
        self.shape = (height, width, channels)
        self.dtype = np.dtype(dtype)
        with _naming_folder():
            self._file = tempfile.TemporaryFile(prefix="tinystyle-", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def read(self, region: Region) -> NDArray[Any]:
        """Return a copy of a region, which has been written before."""
        out = np.empty((*region.size, self.shape[2]), self.dtype)
        with _naming_folder():
            for rows, offset in self._runs(region, out):
                if os.preadv(self._file.fileno(), [rows], offset) != len(rows):
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
        return out

    def write(self, region: Region, values: NDArray[Any]) -> None:
        """Write a region.

        Raises:
            OSError: the disk is full; the error names the folder of temporary files.
        """
        values = np.ascontiguousarray(values, self.dtype)
        with _naming_folder():
            for rows, offset in self._runs(region, values):
                done = 0
                while done < len(rows):  # a disk that is nearly full takes a part
                    done += os.pwrite(self._file.fileno(), rows[done:], offset + done)

    def _runs(self, region: Region, values: NDArray[Any]) -> Iterator[tuple[memoryview, int]]:
        """Yield the parts of `values` that are contiguous in the file, with their offsets in it."""
        _, width, channels = self.shape
        pixel = channels * self.dtype.itemsize
        if region.left == 0 and region.right == width:
            yield _memory(values), region.top * width * pixel
            return
        for row, row_values in enumerate(values, region.top):
            yield _memory(row_values), (row * width + region.left) * pixel


def _memory(values: NDArray[Any]) -> memoryview:
    return memoryview(values.view(np.uint8).reshape(-1))  # type: ignore[arg-type]


class Mapping:
    """A (height, width, 4) array of uint8 in a mapped temporary file: memory for an image of Pillow's.

    `forget` gives back the memory that was touched since; the contents stay in the file.
    """

    def __init__(self, height: int, width: int) -> None:
        size = height * width * 4
        with _naming_folder(), tempfile.TemporaryFile(prefix="tinystyle-") as file:
            if hasattr(os, "posix_fallocate"):  # a disk that is full later would be SIGBUS
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self.pixels: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8).reshape(height, width, 4)

    def forget(self) -> None:
        """Give back the memory of the pixels that were touched."""
        if hasattr(mmap, "MADV_DONTNEED"):
            with suppress(OSError):
                self._map.madvise(mmap.MADV_DONTNEED)


class _naming_folder:  # noqa: N801  used like a function
    """Give an OSError without a file name, such as that of a full disk, the folder of temporary files."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno and error.filename is None:
            raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from error
