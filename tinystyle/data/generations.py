"""A new generation of a dataset: made beside the old one, and put in its place at once.

Its shards have numbers that the old ones do not have, so that readers find all shards of the manifest that they read.
The generation's own manifest, written last, says that it is complete: whoever writes to the dataset next then finishes
the exchange, however often that was interrupted.
"""

from __future__ import annotations

import shutil
from contextlib import suppress

from tinystyle.data import remote, storage
from tinystyle.data.manifest import MANIFEST, Manifest
from tinystyle.data.shard_files import GENERATIONS, SHARD, link_or_copy, list_files

__all__ = ["complete_generation", "discard_generations", "generation_folder"]


def generation_folder(destination: str, key: str) -> str:
    """Return the folder or URI in which the generation with a certain key is made."""
    return storage.join(destination, GENERATIONS, key)


def complete_generation(destination: str) -> None:
    """Put a generation that is complete in the place of the dataset at `destination`; do nothing if there is none.

    Raises:
        OSError: a file cannot be written or removed; the same call resumes.
    """
    for folder in _generations(destination):
        if storage.exists(storage.join(folder, MANIFEST)):
            _exchange(destination, folder)


def discard_generations(destination: str, keep: str = "") -> None:
    """Remove all generations of `destination`, except the one in the folder `keep`."""
    for folder in _generations(destination):
        if folder == keep:
            continue
        storage.remove(storage.join(folder, MANIFEST))  # first: what remains is then incomplete
        if storage.is_remote(folder):
            for file in list_files(folder):
                storage.remove(storage.join(folder, file))
        else:
            shutil.rmtree(folder)
    if not keep and not storage.is_remote(destination):
        with suppress(FileNotFoundError):
            storage.local_path(storage.join(destination, GENERATIONS)).rmdir()


def _generations(destination: str) -> list[str]:
    folder = storage.join(destination, GENERATIONS)
    if not storage.is_remote(folder) and not storage.local_path(folder).is_dir():
        return []
    if storage.is_remote(folder) and not remote.call(folder, "exists"):
        return []
    return [storage.join(folder, name) for name, size in sorted(list_files(folder).items()) if size < 0]


def _exchange(destination: str, folder: str) -> None:
    manifest = Manifest.read(folder)
    there = list_files(destination)
    for shard in manifest.shards:
        if there.get(shard.file) != shard.bytes:
            link_or_copy(storage.join(folder, shard.file), storage.join(destination, shard.file))
    storage.write_bytes(storage.join(destination, MANIFEST), manifest.to_json())
    listed = {shard.file for shard in manifest.shards}
    for file in there:
        if SHARD.fullmatch(file) and file not in listed:
            storage.remove(storage.join(destination, file))
    discard_generations(destination)
