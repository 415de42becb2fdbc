"""Measures the training crops that one process loads a second, and its memory by the size of the dataset.

    python benchmarks/loader.py --photos FOLDER [--entries 1000 118287] [--crops 2000]

Each dataset consists of the same 512 photographs of FOLDER, ingested at a short side of 256, again and again under other
names: as many entries as asked for, on the disk as large as a real one. Each is read in a process of its own. Memory is
what the process has for itself (RssAnon of Linux): shards are mapped, and what of them is in memory belongs to the
system, which takes it back when it wants to.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import tempfile
from pathlib import Path
from time import perf_counter

from tinystyle.data.datamodule import CropDataset
from tinystyle.data.ingest import ingest
from tinystyle.data.shard_writer import ShardWriter
from tinystyle.data.shards import ShardDataset, read_photos

PER_SHARD = 512


def write_dataset(photos: Path, entries: int, destination: Path) -> None:
    """Write a dataset of `entries` photos that repeats those of the first shard at `photos`, with hashes of their own."""
    known = [photo for _, photo in read_photos(next(iter(sorted(photos.glob("shard-*")))).read_bytes())]
    destination.mkdir()
    writer = ShardWriter(str(destination), 256, "synthetic", None)
    for first in range(0, entries, PER_SHARD):
        rows = []
        for number in range(first, min(first + PER_SHARD, entries)):
            photo = known[number % len(known)]
            digest = hashlib.sha256(f"{photo.sha256} {number}".encode()).hexdigest()
            rows.append((f"{number:06}.jpg", type(photo)(photo.jpeg, digest, photo.width, photo.height)))
        writer.append(rows, [], {})
    writer.finish([])


def own_memory() -> float:
    """Return the MiB that this process has for itself."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure(dataset: str, crops: int) -> tuple[float, float, float, float]:
    """Return seconds to open, crops a second, MiB after opening and after the last crop, both above those before."""
    before, began = own_memory(), perf_counter()
    data = CropDataset(ShardDataset(dataset), 256, seed=0)
    data[0]
    opened, after_opening = perf_counter() - began, own_memory() - before
    began = perf_counter()
    for sample in range(crops):
        data[sample]
    return opened, crops / (perf_counter() - began), after_opening, own_memory() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--entries", type=int, nargs="+", default=[1000, 118_287])
    parser.add_argument("--crops", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ingested = Path(folder) / "ingested"
        ingest(str(arguments.photos), str(ingested), size=256)
        for entries in arguments.entries:
            dataset = Path(folder) / str(entries)
            write_dataset(ingested, entries, dataset)
            with multiprocessing.get_context("spawn").Pool(1) as process:
                opened, speed, first, last = process.apply(measure, (str(dataset), arguments.crops))
            print(
                f"{entries} entries: opened in {opened:.2f} s; {speed:.0f} crops/s; {first:.1f} MiB opened, "
                f"{last:.1f} MiB after {arguments.crops} crops"
            )


if __name__ == "__main__":
    main()
