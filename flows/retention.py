"""What is no longer needed: old checkpoints, superseded versions, unused datasets. Decides, and removes one at a time.

Nothing that is published, or that is or was a champion, is ever removed, nor the newest version of a style.
Independent of Prefect.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from tinystyle.data import cache, storage
from tinystyle.errors import UserError
from tinystyle.release.publishing import read_index

if TYPE_CHECKING:
    from tinystyle.tracking.registry import ModelVersion

__all__ = [
    "NothingPublishedError",
    "Removal",
    "Retention",
    "old_checkpoints",
    "superseded",
    "superseded_versions",
    "unused_datasets",
]

_EVER_CHAMPION = "decision.champion"
"""Tag of a version that is a champion or was one."""


class NothingPublishedError(UserError):
    """There is no index, so that nobody knows what is published, and everything that could be is kept."""


@dataclass(frozen=True)
class Retention:
    """For how many days things are kept that are not kept for ever."""

    checkpoints: int = 14
    versions: int = 90
    caches: int = 30


@dataclass(frozen=True)
class Removal:
    """One thing that can be removed."""

    kind: str
    name: str
    why: str
    bytes: int
    """Size in bytes, 0 if unknown."""
    remove: Callable[[], bool] = field(compare=False, repr=False)
    """Removes it; returns False, and leaves it, if somebody has come to need it since it was listed."""


def superseded(
    versions: Sequence[ModelVersion], published: set[tuple[str, int]], days: int, now: datetime
) -> list[ModelVersion]:
    """Return the versions that may be removed, oldest first: older than `days`, and none of those that are kept for ever.

    Kept for ever are versions with an alias, that were a champion once, that are published, even if another version is
    the current one, and the newest of each style.
    """
    newest = {
        style: max(each.version for each in versions if each.style == style) for style in {v.style for v in versions}
    }
    return [
        version
        for version in sorted(versions, key=lambda each: (each.created, each.style, each.version))
        if version.created < now - timedelta(days=days)
        and not version.aliases
        and _EVER_CHAMPION not in version.tags
        and (version.style, version.version) not in published
        and version.version != newest[version.style]
    ]


def superseded_versions(root: str, days: int, now: datetime | None = None) -> list[Removal]:
    """Return the registered versions that may be removed; what is published is listed at `root`.

    Raises:
        NothingPublishedError: there is no index at `root`.
        OSError: the index cannot be read.
    """
    from tinystyle.tracking import registry

    found = superseded(registry.versions(), _published(root), days, now or datetime.now(UTC))
    return [
        Removal(
            "version",
            f"{version.style} {version.version}",
            f"of {version.created:%Y-%m-%d}, superseded, never champion, not published",
            0,
            partial(_remove_version, version, root, days, now),
        )
        for version in found
    ]


def _remove_version(version: ModelVersion, root: str, days: int, now: datetime | None) -> bool:
    """Remove a version, unless it has been published or given an alias since it was listed."""
    from tinystyle.tracking import registry

    there = superseded(registry.versions(version.style), _published(root), days, now or datetime.now(UTC))
    if all((each.style, each.version) != (version.style, version.version) for each in there):
        return False
    registry.remove(version)
    return True


def old_checkpoints(checkpoints: str, root: str, days: int, now: datetime | None = None) -> list[Removal]:
    """Return the checkpoint folders, below `checkpoints`, of runs that are registered and were last written long ago.

    A run that is not registered may still be resumed, so its checkpoints are left alone, as are those of versions that
    are kept for ever.

    Raises:
        NothingPublishedError: there is no index at `root`.
        OSError: a place cannot be read.
    """
    from tinystyle.tracking import registry

    versions, published = registry.versions(), _published(root)
    kept = {
        version.tags.get("key")
        for version in versions
        if version.aliases or _EVER_CHAMPION in version.tags or (version.style, version.version) in published
    }
    names: dict[str, str] = {version.tags.get("key", ""): f"{version.style} {version.version}" for version in versions}
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    removals = []
    for folder, files in _folders(checkpoints).items():
        last = max(file.modified for file in files)
        if folder in names and folder not in kept and last < before:
            why = f"registered as {names[folder]}, last written {last:%Y-%m-%d}"
            place, size = storage.join(checkpoints, folder), sum(file.bytes for file in files)
            removals.append(Removal("checkpoints", place, why, size, partial(_remove_files, place, files)))
    return removals


def _folders(root: str) -> dict[str, list[storage.StoredFile]]:
    """Return the files below each folder in `root`, by the name of the folder."""
    found: dict[str, list[storage.StoredFile]] = {}
    prefix = storage.join(root, "")
    for file in storage.find(root):
        name, slash, _ = file.uri.removeprefix(prefix).partition("/")
        if slash and file.uri.startswith(prefix):
            found.setdefault(name, []).append(file)
    return found


def _remove_files(folder: str, files: Sequence[storage.StoredFile]) -> bool:
    """Remove a run's files, unless a new owner has begun to write there, who writes lease.json first."""
    if storage.find(folder) != list(files):
        return False
    # The record last, so that a folder whose removal was interrupted is still that of a run.
    for file in sorted(files, key=lambda each: each.uri.endswith("/run.json")):
        storage.remove(file.uri)
    if not storage.is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    return True


def unused_datasets(days: int, now: datetime | None = None) -> list[Removal]:
    """Return the datasets in this machine's cache that nobody uses or has used for long; they can be fetched again."""
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    return [
        Removal(
            "dataset",
            str(cached.folder),
            f"last used {_day(cached)}",
            cached.size,
            partial(cache.remove, cached.folder),
        )
        for cached in cache.unused(before.timestamp())
    ]


def _day(cached: cache.Cached) -> str:
    return f"{datetime.fromtimestamp(cached.last_used / 1e9, UTC):%Y-%m-%d}"


def _published(root: str) -> set[tuple[str, int]]:
    index = read_index(root)
    if index.updated is None:
        raise NothingPublishedError(f"nothing is published at {root}")
    return {(style.name, version.version) for style in index.styles for version in style.versions}
