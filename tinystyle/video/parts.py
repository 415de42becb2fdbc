"""The pieces of a video that is being made: encoded one by one, each whole or absent, with what the next one needs.

They lie in a folder beside the result until it is complete, so that a run that was killed resumes after its last piece.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from tinystyle.data import storage
from tinystyle.data.locks import lock_file
from tinystyle.errors import UserError
from tinystyle.video.colors import frame_of
from tinystyle.video.containers import Container, pyav, url
from tinystyle.video.source import Frame, Source

__all__ = ["Encoding", "Parts"]

_FRAMES = 60
"""Frames of a part: what a kill loses at most. Each begins with a key frame."""
_THREADS = 4
"""Of the encoder, whatever the machine: its output depends on them."""


class Parts:
    """The folder of parts of one result, for one process at a time.

    Args:
        out: path of the result.
        made_from: everything that decides how the result looks, name -> text.
    """

    length = _FRAMES

    def __init__(self, out: Path, made_from: Mapping[str, str]) -> None:
        self.folder = out.with_name(f".{out.name[:200]}.parts")
        self._made_from = dict(made_from)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from the folder, which is created if absent, and check that its parts are of this result.

        Raises:
            UserError: another process is making the result, or the parts are of a result with other options.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = lock_file(self.folder / "lock", wait=False)
        try:
            if lock is None and (other := lock_file(self.folder / "probe", wait=False)) is not None:
                os.close(other)  # so locks can be had here, as not on every network file system
                raise UserError(f"{self.folder}: another process is making this video; wait until it ends")
            self._check()
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def _check(self) -> None:
        record = self.folder / "made-from.json"
        if not record.exists():
            storage.write_bytes(record, json.dumps(self._made_from, indent=1).encode())
        before = json.loads(record.read_bytes())
        for name, now in self._made_from.items():
            if before.get(name) != now:
                raise UserError(
                    f"{self.folder}: holds parts of an interrupted run with `{name}` {before.get(name)}, not {now}; run that "
                    "again to complete it, or remove the folder"
                )

    def finished(self) -> list[Path]:
        """Return the parts that are complete, in order."""
        found: list[Path] = []
        while (path := self._part(len(found))).exists():
            found.append(path)
        return found

    def state(self, count: int) -> dict[str, Tensor]:
        """Return what was to be remembered after the first `count` parts, by name."""
        return safetensors.torch.load(self._part(count - 1).with_suffix(".state").read_bytes()) if count else {}

    @contextmanager
    def writing(self, index: int, encoding: Encoding) -> Iterator[PartWriter]:
        """Encode part `index`, which exists once the block has ended without an error."""
        with storage.atomic_path(self._part(index)) as temporary:
            writer = PartWriter(temporary, encoding)
            try:
                yield writer
                writer.close()
            finally:
                writer.abandon()
            # First, so that a part that exists has its state.
            storage.write_bytes(self._part(index).with_suffix(".state"), safetensors.torch.save(writer.state))

    def remove(self) -> None:
        """Remove the folder with all parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _part(self, index: int) -> Path:
        return self.folder / f"{index:06d}.nut"


class Encoding:
    """How the frames of a video are encoded: all parts alike, so that they can be joined.

    Args:
        source: the video whose times and colors are kept.
        container: what kind of file will hold them.
        size: (width, height) of stylized frames.
        crf: constant rate factor.
    """

    def __init__(self, source: Source, container: Container, size: tuple[int, int], crf: int) -> None:
        self.source, self.container, self.crf = source, container, crf
        self.size = (size[0] + size[0] % 2, size[1] + size[1] % 2) if container.even else size
        """(width, height) of encoded frames."""

    def add_to(self, output: Any) -> Any:
        """Add a stream of this encoding to a file that is open for writing."""
        source = self.source
        options = {**self.container.options, "crf": str(self.crf)}
        stream = output.add_stream(self.container.codec, rate=source.rate.limit_denominator(65535), options=options)
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = source.time_base
        stream.codec_context.sample_aspect_ratio = source.aspect
        stream.codec_context.thread_count = _THREADS
        source.colors.declare(stream.codec_context)
        return stream


class PartWriter:
    """Encodes frames into one part: a NUT file, which keeps timestamps in any unit."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.state: dict[str, Tensor] = {}
        self._encoding = encoding
        self._output: Any = pyav().open(url(path), "w", format="nut", container_options={"fflags": "+bitexact"})
        self._stream = encoding.add_to(self._output)

    def add(self, frame: Frame) -> None:
        """Encode a stylized frame."""
        source = self._encoding.source
        encoded = frame_of(frame.pixels_hw3, source.colors, self._encoding.size)
        encoded.pts, encoded.time_base, encoded.duration = frame.time, Fraction(source.time_base), frame.duration
        self._output.mux(self._stream.encode(encoded))

    def close(self) -> None:
        """Encode what is left and complete the file."""
        self._output.mux(self._stream.encode())
        self._output.close()

    def abandon(self) -> None:
        """Close the file, complete or not."""
        self._output.close()
