"""Small videos, made by PyAV: a photo that moves, with a tone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFilter

from tests.support.photos import synthetic_photo

__all__ = ["moving_frames", "packets", "read_frames", "times", "write_video", "ycbcr_of"]

RATE = 48_000


def moving_frames(count: int = 12, width: int = 64, height: int = 48, photo: int = 0) -> list[NDArray[np.uint8]]:
    """Frames of a view that moves over a photo by a pixel each time."""
    # Blurred: colors have half the resolution in most videos, which would change the photo's noise.
    blur = ImageFilter.GaussianBlur(2)
    whole = np.asarray(synthetic_photo(photo, width + count, height + count).filter(blur))
    return [np.ascontiguousarray(whole[i : i + height, i : i + width]) for i in range(count)]


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]] | None = None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 12_800),
    rate: int = 25,
    audio: str | None = "aac",
    rotation: int = 0,
    matrix: int | None = None,
    full_range: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames, RGB, as a video with a tone of 440 Hz; returns the path.

    Args:
        times: when frames are shown, in `time_base`; by default at `rate` frames a second.
        rotation: in degrees, counterclockwise, that a player turns the picture by.
        matrix: number of the color matrix that is used and declared; None declares none, and uses BT.601.
    """
    frames = moving_frames() if frames is None else frames
    step = int(1 / (rate * time_base))
    times = [index * step for index in range(len(frames))] if times is None else times
    with av.open(str(path), "w") as opened:
        output: Any = opened
        stream = output.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        codec_context = stream.codec_context
        codec_context.color_range = 2 if full_range else 1
        if matrix is not None:
            codec_context.colorspace = matrix
            codec_context.color_primaries = codec_context.color_trc = matrix
        if rotation:
            stream.set_display_rotation(rotation)
        sound: Any = None
        if audio:
            sound = output.add_stream(audio, rate=RATE)
            sound.codec_context.layout = "mono"
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
                format=pix_fmt, dst_colorspace=matrix or 5, src_color_range=2, dst_color_range=2 if full_range else 1
            )
            frame.pts, frame.time_base = time, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound:
            seconds = float((times[-1] + step) * time_base)
            samples = np.arange(round(seconds * RATE))
            tone = (8000 * np.sin(2 * math.pi * 440 * samples / RATE)).astype(np.int16)
            for start in range(0, len(tone), 1024):
                piece = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "s16", "mono")
                piece.sample_rate, piece.pts, piece.time_base = RATE, start, Fraction(1, RATE)
                output.mux(sound.encode(piece))
            output.mux(sound.encode())
    return path


def _opened(path: Path) -> Any:
    return av.open(str(path))


def read_frames(path: Path) -> list[NDArray[np.uint8]]:
    """All frames as RGB, as stored, by the matrix that the file declares."""
    with _opened(path) as container:
        return [
            frame.to_ndarray(
                format="rgb24",
                src_colorspace={1: 1, 9: 9}.get(frame.colorspace, 5),
                src_color_range=frame.color_range or 1,
                dst_color_range=2,
            )
            for frame in container.decode(video=0)
        ]


def times(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    with _opened(path) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def packets(path: Path) -> list[tuple[bytes, int | None]]:
    """The packets of the sound: their content and times in samples."""
    with _opened(path) as container:
        stream = container.streams.audio[0]
        return [
            (bytes(packet), None if packet.pts is None else round(packet.pts * packet.time_base * RATE))
            for packet in container.demux(stream)
            if packet.size
        ]


def ycbcr_of(path: Path) -> tuple[int, int, int]:
    """Y, Cb and Cr of the middle of the first frame, as stored."""
    with _opened(path) as container:
        frame = next(container.decode(video=0))
        planes = []
        for plane in frame.planes:
            rows = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
            planes.append(int(rows[plane.height // 2, plane.width // 2]))
        return planes[0], planes[1], planes[2]
