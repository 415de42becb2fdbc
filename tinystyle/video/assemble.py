"""Joins encoded parts and the sound of the source into one file, without encoding pictures again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tinystyle.video.containers import Container, naming_errors, pyav, url
from tinystyle.video.source import Source, opened

__all__ = ["assemble"]

_DROPPED = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""What a file says of itself, not of the video."""


def assemble(parts: Sequence[Path], source: Source, container: Container, out: Path) -> None:
    """Write the parts one after another, with the sound of the source, in constant memory.

    Sound is copied as it is where the container holds its codec, and encoded again where not, in stereo at most. Title,
    date and the like are copied too; subtitles and chapters are not. Equal parts give equal bytes.

    Args:
        parts: files that `Parts` wrote, at least one.
        source: the video that they were made from.
        container: kind of the file.
        out: path of the file, which is overwritten.

    Raises:
        OSError: it cannot be written.
    """
    av = pyav()
    options = {"fflags": "+bitexact", "movflags": "+faststart"}  # faststart: a player can begin before it has the end
    if container.format not in ("mp4", "mov"):
        del options["movflags"]
    with ExitStack() as stack:
        stack.enter_context(naming_errors(out))
        original = stack.enter_context(opened(source.path))
        output = stack.enter_context(av.open(url(out), "w", format=container.format, container_options=options))
        for name, text in original.metadata.items():
            if name not in _DROPPED:
                output.metadata[name] = text
        with av.open(url(parts[0])) as first:
            video = output.add_stream_from_template(first.streams.video[0])
        video.time_base = source.time_base
        sound = _Sound(original, output, container)
        for _, packet in heapq.merge(_pictures(parts, video), sound.packets(), key=lambda timed: timed[0]):
            output.mux(packet)


def _pictures(parts: Sequence[Path], stream: Any) -> Iterator[tuple[float, Any]]:
    for part in parts:
        with pyav().open(url(part)) as encoded:
            for packet in encoded.demux(video=0):
                if packet.pts is None:  # the end
                    continue
                packet.dts = packet.pts
                packet.stream = stream
                yield float(packet.dts * packet.time_base), packet


class _Sound:
    """The sound of the source as packets for the result."""

    def __init__(self, original: Any, output: Any, container: Container) -> None:
        self._original = original
        self._copied: dict[int, Any] = {}
        self._encoded: dict[int, Any] = {}
        for stream in original.streams.audio:
            if stream.codec_context is None:  # a codec that is not known
                continue
            if container.audio is None or stream.codec_context.name in container.audio:
                made = output.add_stream_from_template(stream)
                self._copied[stream.index] = made
            else:
                made = output.add_stream(container.audio_codec, rate=_rate(stream, container))
                made.codec_context.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
                self._encoded[stream.index] = made
            for name, text in stream.metadata.items():
                if name in ("language", "title"):
                    made.metadata[name] = text

    def packets(self) -> Iterator[tuple[float, Any]]:
        """Yield packets with their times in seconds, in order of these."""
        streams = [
            stream for stream in self._original.streams.audio if stream.index in {**self._copied, **self._encoded}
        ]
        if not streams:
            return
        last = 0.0
        av = pyav()
        demuxed = self._original.demux(*streams)
        while True:
            try:
                packet = next(demuxed, None)
                if packet is None:
                    break
                found = list(self._of(packet))
            except av.error.EOFError:
                break
            except av.error.InvalidDataError:  # a damaged packet
                continue
            for each in found:
                # Among several streams the order is that of the source, more or less; the merge wants an exact one.
                last = max(last, float((each.dts if each.dts is not None else each.pts or 0) * each.time_base))
                yield last, each

    def _of(self, packet: Any) -> Iterator[Any]:
        copied = self._copied.get(packet.stream.index)
        if copied is not None:
            if packet.dts is not None:
                packet.stream = copied
                yield packet
            return
        encoder = self._encoded[packet.stream.index]
        for frame in packet.decode():
            yield from encoder.encode(frame)
        if packet.size == 0:
            yield from encoder.encode(None)


def _rate(stream: Any, container: Container) -> int:
    """Return the sampling rate at which sound is encoded: its own, where the encoder has it."""
    own = int(stream.codec_context.sample_rate)
    return own if container.audio_codec == "aac" and own in _AAC_RATES else 48_000


_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
