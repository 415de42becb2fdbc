"""The photos that a Core ML file is verified with: those of a folder, or those held out in a dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from PIL import Image

from tinystyle.data import storage
from tinystyle.data.images import open_rgb
from tinystyle.data.shards import ShardDataset, evenly_spaced, sync
from tinystyle.errors import UserError
from tinystyle.stylize.photos import find_photos

__all__ = ["verification_photos"]

_LOG = logging.getLogger(__name__)


def verification_photos(location: str, most: int) -> Iterator[tuple[str, Image.Image]]:
    """Return an iterator over (name, RGB image) of at most `most` photos, evenly spaced and decoded on demand.

    Args:
        location: a dataset made by `tinystyle ingest`, path or URI, whose held-out photos are used; or a folder, a file
            or a pattern, as in `find_photos`.
        most: maximum number of photos, at least 1.

    Raises:
        UserError: there are no photos; raised by this call, not by the iteration.
        OSError: the photos cannot be listed.
    """
    if storage.exists(storage.join(location, "manifest.json")):
        shards = ShardDataset(sync(location))
        if not shards.held_out:
            raise UserError(f"{location} has no held-out photo; give a folder of photographs")
        chosen = evenly_spaced(shards.held_out, most)
        return ((shards.name(index), Image.fromarray(shards.read(index))) for index in chosen)
    photos = find_photos([location])
    usable = evenly_spaced(list(range(len(photos))), most)

    def decoded() -> Iterator[tuple[str, Image.Image]]:
        for index in usable:
            photo = photos[index]
            try:
                yield photo.source.rpartition("/")[2], open_rgb(photo.read(), photo.source)
            except (UserError, OSError) as error:
                _LOG.warning("left out: %s", error)

    return decoded()
