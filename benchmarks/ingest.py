"""Compares the speed of `tinystyle ingest` with a plain Pillow loop, interleaved in one run, on the same files.

    python benchmarks/ingest.py --photos FOLDER [--count 256] [--rounds 3]

The photos in FOLDER are rewritten as JPEG files of several sizes (quality 90, with chroma subsampling, as cameras do).
The Pillow loop runs in one process: open, rotate by EXIF, convert to RGB, scale bicubically to a short side of 256,
write one JPEG file of quality 95 per photo. Ours is the complete ingest (quarantine, hashes, duplicates, shards,
manifest), with one worker and with one worker per core.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

from interleaved import interleaved, ratio
from PIL import Image, ImageOps

from tinystyle.data.ingest import ingest
from tinystyle.data.processes import cpu_count

SIZE = 256
SIZES = (None, (640, 480), (2400, 1600))
"""Sizes of the photos, (width, height) in pixels; None means unchanged."""


def write_photos(photos: list[Path], size: tuple[int, int] | None, folder: Path) -> None:
    """Write the photos as JPEG files, scaled and cropped to `size` (width, height)."""
    folder.mkdir()
    for number, path in enumerate(photos):
        image = Image.open(path).convert("RGB")
        if size:
            image = ImageOps.fit(image, size if image.width >= image.height else size[::-1], Image.Resampling.BICUBIC)
        image.save(folder / f"{number:04}.jpg", quality=90)


def pillow_loop(source: Path, destination: Path) -> None:
    """Ingest with a straightforward Pillow loop, as one would write it first."""
    destination.mkdir()
    for path in sorted(source.iterdir()):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        scale = SIZE / min(image.size)
        size = (max(SIZE, round(image.width * scale)), max(SIZE, round(image.height * scale)))
        image.resize(size, Image.Resampling.BICUBIC).save(destination / path.name, quality=95, subsampling=0)


def ours(source: Path, destination: Path, workers: int) -> None:
    manifest = ingest(str(source), str(destination), size=SIZE, workers=workers)
    assert manifest.count + len(manifest.quarantined) == len(list(source.iterdir()))


def measure(source: Path, scratch: Path, rounds: int) -> dict[str, list[float]]:
    """Measure the seconds of the loop and of ingest, each into a new folder inside `scratch`."""

    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=scratch)) / "out"

    contestants = {"Pillow loop": lambda: pillow_loop(source, fresh())}
    for workers in sorted({1, cpu_count()}):
        contestants[f"ours, {workers} workers"] = lambda workers=workers: ours(source, fresh(), workers)
    return interleaved(contestants, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.rglob("*.jpg"))[: arguments.count]
    print(f"{len(photos)} photographs, {cpu_count()} cores, median of {arguments.rounds} interleaved rounds")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            write_photos(photos, size, source)
            seconds = measure(source, Path(folder), arguments.rounds)
        print(f"{'x'.join(map(str, size)) if size else 'as they are'}:")
        for name, times in seconds.items():
            speed = f"{len(photos) / median(times):.0f} photographs/s"
            print(f"  {name}: {speed}, {ratio(seconds['Pillow loop'], times)}")


if __name__ == "__main__":
    main()
