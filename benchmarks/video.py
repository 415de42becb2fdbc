"""Videos through a network: frames per second, memory at two lengths, and flicker with and without smoothing.

    python -m benchmarks.video --photo photo.jpg

The videos are views of 640x480 that pan over a photo by whole pixels, so that the motion is known, and a still view into
which a bright wall moves. Every run is a `tinystyle video` of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT, RATE, STEP = 640, 480, 24, 2
RING = 16


def views(photo: Image.Image, seconds: int, kind: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video."""
    count = seconds * RATE
    width = WIDTH + STEP * 10 * RATE
    scale = max(width / photo.width, HEIGHT / photo.height)
    large = np.asarray(photo.resize((round(photo.width * scale) + 1, round(photo.height * scale) + 1)))
    top = (large.shape[0] - HEIGHT) // 2
    for index in range(count):
        left = index * STEP if kind == "pan" else 200
        view = large[top : top + HEIGHT, left : left + WIDTH].copy()
        if kind == "wall":
            view[:, : max(0, min(WIDTH // 2, (index - 6) * 12))] = (245, 242, 235)
        yield view


def write(path: Path, photo: Image.Image, seconds: int, kind: str) -> Path:
    """Write a video with a tone of 440 Hz."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = output.add_stream("aac", rate=48_000)
        sound.codec_context.layout = "mono"  # type: ignore[union-attr]
        for pixels in views(photo, seconds, kind):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        output.mux(stream.encode())
        samples = np.arange(seconds * 48_000)
        tone = (8000 * np.sin(2 * np.pi * 440 * samples / 48_000)).astype(np.int16)
        for start in range(0, len(tone), 1024):
            piece = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "s16", "mono")
            piece.sample_rate, piece.pts, piece.time_base = 48_000, start, Fraction(1, 48_000)
            output.mux(sound.encode(piece))  # type: ignore[union-attr]
        output.mux(sound.encode())  # type: ignore[union-attr]
    return path


def stylized(model: str, video: Path, out: Path, smoothing: float) -> tuple[float, float]:
    """Run the command; return its seconds and its peak of resident memory in MB."""
    arguments = ["video", model, str(video), "--out", str(out), "--smoothing", str(smoothing)]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "tinystyle", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def restlessness(path: Path, kind: str) -> float:
    """Return the mean change of what moved from one frame to the next as the view did, in gray levels."""
    before: NDArray[np.float32] | None = None
    changes = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            now = frame.to_ndarray(format="rgb24").astype(np.float32)
            if before is not None:
                old, new = (before[:, STEP:], now[:, :-STEP]) if kind == "pan" else (before, now)
                left = RING if kind == "pan" else WIDTH // 2 + RING
                changes.append(np.abs(new - old)[RING:-RING, left:-RING].mean())
            before = now
    return float(np.mean(changes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", required=True, help="a photograph")
    parser.add_argument("--model", default="pretrained:starry-night")
    parser.add_argument("--smoothing", type=float, default=0.9)
    parser.add_argument("--keep", type=Path, help="folder to keep the videos in")
    options = parser.parse_args()
    photo = Image.open(options.photo).convert("RGB")
    with TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print("| video | smoothing | seconds | frames a second | peak MB | flicker |\n|---|---:|---:|---:|---:|---:|")
        for kind, seconds in (("pan", 2), ("pan", 10), ("wall", 2)):
            source = write(folder / f"{kind}-{seconds}.mp4", photo, seconds, kind)
            print(f"| {kind}, {seconds} s | source | | | | {restlessness(source, kind):.2f} |", flush=True)
            for smoothing in (0.0, options.smoothing):
                out = folder / f"{kind}-{seconds}-{smoothing:g}.mp4"
                took, peak = stylized(options.model, source, out, smoothing)
                rate, changes = seconds * RATE / took, restlessness(out, kind)
                print(
                    f"| {kind}, {seconds} s | {smoothing:g} | {took:.1f} | {rate:.1f} | {peak:.0f} | {changes:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
