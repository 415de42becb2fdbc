"""Photographs/s of `tinystyle ingest` over a plain Pillow loop, interleaved in one run, on the same files.

    python benchmarks/ingest.py --photos FOLDER [--count 256] [--rounds 3]

The photographs in FOLDER are written anew as JPEG files (quality 90, chroma halved, as cameras do) of several sizes.
The loop: one process, Pillow: open, turn by EXIF, RGB, bicubic to a short side of 256, JPEG of quality 95, a file for each.
Ours: all of ingest (quarantine, hashes, duplicates, shards, manifest), with one worker and with one for each core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

from PIL import Image, ImageOps

from tinystyle.data.ingest import ingest
from tinystyle.processes import cpu_count

SIZE = 256
SIZES = (None, (640, 480), (2400, 1600))
"""None: as they are."""


def write_photos(photos: list[Path], size: tuple[int, int] | None, folder: Path) -> None:
    """JPEG files of the photographs, scaled and cut to `size` (width, height)."""
    folder.mkdir()
    for number, path in enumerate(photos):
        image = Image.open(path).convert("RGB")
        if size:
            image = ImageOps.fit(image, size if image.width >= image.height else size[::-1], Image.Resampling.BICUBIC)
        image.save(folder / f"{number:04}.jpg", quality=90)


def pillow_loop(source: Path, destination: Path) -> None:
    """What one writes first."""
    destination.mkdir()
    for path in sorted(source.iterdir()):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        scale = SIZE / min(image.size)
        size = (max(SIZE, round(image.width * scale)), max(SIZE, round(image.height * scale)))
        image.resize(size, Image.Resampling.BICUBIC).save(destination / path.name, quality=95, subsampling=0)


def ours(source: Path, destination: Path, workers: int) -> None:
    manifest = ingest(str(source), str(destination), size=SIZE, workers=workers)
    assert manifest.count + len(manifest.quarantined) == len(list(source.iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.rglob("*.jpg"))[: arguments.count]
    cores = cpu_count()
    contestants: dict[str, Callable[[Path, Path], None]] = {
        "Pillow loop": pillow_loop,
        "ours, 1 worker": partial(ours, workers=1),
        f"ours, {cores} workers": partial(ours, workers=cores),
    }
    print(f"{len(photos)} photographs, {cores} cores, median of {arguments.rounds} interleaved rounds")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            write_photos(photos, size, source)
            seconds: dict[str, list[float]] = {name: [] for name in contestants}
            for number in range(arguments.rounds):
                for name, run in contestants.items():
                    began = perf_counter()
                    run(source, Path(folder) / f"{name} {number}")
                    seconds[name].append(perf_counter() - began)
        print(f"{'x'.join(map(str, size)) if size else 'as they are'}:")
        for name, times in seconds.items():
            ratios = sorted(loop / own for loop, own in zip(seconds["Pillow loop"], times, strict=True))
            print(
                f"  {name}: {len(photos) / median(times):.0f} photographs/s, "
                f"ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


if __name__ == "__main__":
    main()
