"""Compares the speed of `tinystyle ingest` with a plain Pillow loop, interleaved in one run, on the same files.

    python benchmarks/ingest.py --photos FOLDER [--count 256] [--rounds 3] [--sizes 640x480 ...]

The photos in FOLDER are rewritten as JPEG files of several sizes (quality 90, with chroma subsampling, as cameras do).
Where more are wanted than it holds, each is used again with a few pixels cut off, so that none is a duplicate.
The Pillow loop runs in one process: open, rotate by EXIF, convert to RGB, scale bicubically to a short side of 256,
write one JPEG file of quality 95 per photo. Ours is the complete ingest (quarantine, hashes, duplicates, shards,
manifest), with one worker and with one worker per core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from interleaved import interleaved, ratio
from PIL import Image, ImageOps

from tinystyle.data.processes import cpu_count

SIZE = 256
UNCHANGED = "as-they-are"
SIZES = (UNCHANGED, "640x480", "2400x1600")
"""Sizes of the photos, width x height in pixels."""


def write_photos(photos: list[Path], count: int, size: tuple[int, int] | None, folder: Path) -> None:
    """Write `count` photos as JPEG files, scaled and cropped to `size` (width, height)."""
    folder.mkdir()
    for number in range(count):
        use, which = divmod(number, len(photos))
        image = Image.open(photos[which]).convert("RGB")
        image = image.crop((3 * use, 2 * use, image.width - use, image.height - use))
        if size:
            image = ImageOps.fit(image, size if image.width >= image.height else size[::-1], Image.Resampling.BICUBIC)
        image.save(folder / f"{number:06}.jpg", quality=90)


def pillow_loop(source: Path, destination: Path) -> None:
    """Ingest with a straightforward Pillow loop, as one would write it first."""
    destination.mkdir()
    for path in sorted(source.iterdir()):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        scale = SIZE / min(image.size)
        size = (max(SIZE, round(image.width * scale)), max(SIZE, round(image.height * scale)))
        image.resize(size, Image.Resampling.BICUBIC).save(destination / path.name, quality=95, subsampling=0)


def ours(source: Path, destination: Path, workers: int) -> None:
    # Not above, since every worker of a script imports what the script does; those of the command import no ingest.
    from tinystyle.data.ingest import ingest

    manifest = ingest(str(source), str(destination), size=SIZE, workers=workers)
    assert manifest.count + len(manifest.quarantined) == len(list(source.iterdir()))


def measure(source: Path, scratch: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Measure the loop and ingest, each into a new folder inside `scratch`: seconds, and CPU seconds of all processes."""
    contestants = {"Pillow loop": partial(pillow_loop, source)}
    for workers in sorted({1, cpu_count()}):
        contestants[f"ours, {workers} workers"] = partial(ours, source, workers=workers)
    cpu: dict[str, list[float]] = {name: [] for name in contestants}

    def run(name: str) -> None:
        before = sum(os.times()[:4])
        contestants[name](Path(tempfile.mkdtemp(dir=scratch)) / "out")
        cpu[name].append(sum(os.times()[:4]) - before)

    return interleaved({name: partial(run, name) for name in contestants}, rounds), cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.rglob("*.jpg"))
    print(f"{arguments.count} photographs, {cpu_count()} cores, median of {arguments.rounds} interleaved rounds")
    for size in arguments.sizes:
        width_height = None if size == UNCHANGED else tuple(map(int, size.split("x")))
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            write_photos(photos, arguments.count, width_height, source)
            seconds, cpu = measure(source, Path(folder), arguments.rounds)
        print(f"{size}:")
        for name, times in seconds.items():
            speed = f"{arguments.count / median(times):.0f} photographs/s"
            spent = f"{1000 * median(cpu[name]) / arguments.count:.1f} ms of CPU time each"
            print(f"  {name}: {speed}, {ratio(seconds['Pillow loop'], times)}; {spent}")


if __name__ == "__main__":
    main()
