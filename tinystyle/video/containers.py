"""The kinds of video files that are written, and PyAV, which reads and writes them and is an optional package."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import ModuleType

from tinystyle.errors import UserError

__all__ = ["CONTAINERS", "Container", "container_of_suffix", "naming_errors", "pyav", "url"]


@dataclass(frozen=True)
class Container:
    """A kind of file: how its video is encoded, and which sound it holds unchanged."""

    format: str
    """Name of the muxer in FFmpeg."""
    codec: str
    """Name of the video encoder in FFmpeg."""
    crf: int
    """Default constant rate factor of the encoder."""
    worst: int
    """Largest constant rate factor."""
    even: bool
    """Whether sides have to be even: H.264 with colors at half the resolution, which every player has, has no other."""
    audio: frozenset[str] | None
    """Codecs of sound that are copied; None means all."""
    audio_codec: str
    """Encoder for sound in another codec."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the encoder."""


# Without B frames, packets are in the order of display, so that pieces can be joined at any timestamps.
_X264 = {"preset": "medium", "bf": "0"}
_VP9 = {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
_MP4_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"})
_PCM = frozenset({"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le"})

CONTAINERS = {
    ".mp4": Container("mp4", "libx264", 20, 51, True, _MP4_AUDIO, "aac", _X264),
    ".m4v": Container("mp4", "libx264", 20, 51, True, _MP4_AUDIO, "aac", _X264),
    ".mov": Container("mov", "libx264", 20, 51, True, frozenset({"aac", "mp3", "ac3", "eac3", "alac"}) | _PCM, "aac", _X264),
    ".mkv": Container("matroska", "libx264", 20, 51, True, None, "aac", _X264),
    ".webm": Container("webm", "libvpx-vp9", 28, 63, False, frozenset({"opus", "vorbis"}), "libopus", _VP9),
}  # fmt: skip
"""Suffix, in lower case -> what files of that name are."""


def container_of_suffix(path: PurePath) -> Container | None:
    """Return the container that the suffix of a name asks for; None if it is not one of `CONTAINERS`."""
    return CONTAINERS.get(path.suffix.lower())


def pyav() -> ModuleType:
    """Return the module `av`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("videos need PyAV, which is not installed; install `tinystyle[video]`") from error
    return av


def url(path: PurePath) -> str:
    """Return the name of a local file for FFmpeg, which would take clip:1.mp4 for the address of a server."""
    return f"file:{path}"


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Turn an error of the system while a file is written, such as a full disk, into an OSError that names `path`."""
    av = pyav()
    try:
        yield
    except av.FFmpegError as error:
        if error.errno in _OF_THE_SYSTEM:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


_OF_THE_SYSTEM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT}
