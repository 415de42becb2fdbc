"""Reads a video: its frames upright, in RGB, with the times at which they are shown. Does not depend on models."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinystyle.errors import UserError
from tinystyle.video.colors import Colors, rgb_of
from tinystyle.video.containers import pyav, url

__all__ = ["Frame", "Source", "opened"]

_LOG = logging.getLogger(__name__)


class Frame(NamedTuple):
    """A frame of a video, upright."""

    pixels_hw3: NDArray[np.uint8]
    """RGB in 0..255."""
    time: int
    """When it is shown, in units of the source's `time_base`."""
    duration: int
    """How long it is shown, in the same unit; 0 if the file does not say."""


@dataclass(frozen=True)
class Source:
    """What a video file says of its picture."""

    path: Path
    size: tuple[int, int]
    """(width, height) in pixels, upright."""
    count: int | None
    """About how many frames there are; None if the file does not say."""
    rate: Fraction
    """Frames per second, on average."""
    time_base: Fraction
    """Unit of times, in seconds."""
    aspect: Fraction
    """Width of a pixel, divided by its height, upright."""
    colors: Colors

    @classmethod
    def open(cls, path: Path) -> Source:
        """Look at a video and its first frame.

        Raises:
            UserError: the file is missing, is no video, or no frame of it can be decoded.
        """
        if not path.exists():
            raise UserError(f"{path}: no such video")
        with opened(path) as container:
            stream = _video(container, path)
            first = next(_decoded(container, stream, path), None)
            if first is None:
                raise UserError(f"{path}: no frame of it can be decoded; it is damaged, or is no video")
            turned = _Turn.of(first).transposed
            width, height = first.width, first.height
            aspect = stream.sample_aspect_ratio or Fraction(1)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            seconds = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1_000_000
            return cls(
                path,
                (height, width) if turned else (width, height),
                stream.frames or round(seconds * rate) or None,
                Fraction(rate),
                Fraction(stream.time_base),
                1 / Fraction(aspect) if turned else Fraction(aspect),
                Colors.of(first),
            )

    def frames(self, skip: int = 0) -> Iterator[Frame]:
        """Yield the frames in order. Times increase; a frame that cannot be decoded is left out.

        Args:
            skip: number of frames at the beginning to leave out. They are decoded all the same: not every file can be
                entered anywhere with exactly the same frames.
        """
        with opened(self.path) as container:
            stream = _video(container, self.path)
            step = max(1, round(1 / (self.rate * self.time_base)))
            last: int | None = None
            for index, frame in enumerate(_decoded(container, stream, self.path)):
                time = frame.pts if frame.pts is not None else 0 if last is None else last + step
                if last is not None:
                    time = max(time, last + 1)  # what is out of order is shown as soon as possible
                last = time
                if index >= skip:
                    pixels = _Turn.of(frame).upright(rgb_of(frame, self.colors))
                    yield Frame(pixels, time, max(0, frame.duration or 0))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a local file for reading with PyAV.

    Raises:
        UserError: it is no file that FFmpeg reads.
    """
    av = pyav()
    try:
        container = av.open(url(path), options={"protocol_whitelist": "file"})  # a playlist may name servers
    except av.FFmpegError as error:
        raise UserError(f"{path}: cannot be read as a video ({error.strerror or error}); give a video file") from error
    with container:
        yield container


def _video(container: Any, path: Path) -> Any:
    """Return the video stream, not a cover of music."""
    covers = pyav().stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & covers:
            stream.thread_type = "AUTO"
            return stream
    raise UserError(f"{path}: has no video stream; give a video file")


def _decoded(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Yield the frames that can be decoded; warn of packets that cannot."""
    av, damaged = pyav(), 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            yield from packet.decode()
        except av.error.EOFError:
            break
        except av.FFmpegError:
            damaged += 1
            if packet is None or damaged > _MOST_DAMAGED:
                break
    if damaged:
        _LOG.warning("%s: %d packets are damaged, and their frames are left out", path, damaged)


_MOST_DAMAGED = 10_000


class _Turn(NamedTuple):
    """How a stored frame becomes upright: exchanged axes, then mirrored rows and columns."""

    transposed: bool = False
    rows: bool = False
    columns: bool = False

    @classmethod
    def of(cls, frame: Any) -> _Turn:
        """Return the turn that a frame's display matrix asks for, to a quarter; see ISO/IEC 14496-12, 6.2.2."""
        found = frame.side_data.get("DISPLAYMATRIX")
        if found is None:
            return cls()
        a, b, _, c, d, *_ = (int(each) for each in np.frombuffer(bytes(found), np.int32))
        if abs(a) >= abs(b):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    def upright(self, pixels_hw3: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.transposed:
            pixels_hw3 = pixels_hw3.transpose(1, 0, 2)
        rows, columns = (slice(None, None, -1 if each else 1) for each in (self.rows, self.columns))
        return np.ascontiguousarray(pixels_hw3[rows, columns])
