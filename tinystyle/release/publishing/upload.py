"""Publishes verified styles, and rolls back to earlier versions. Files are written first and checked; then the index.

    ROOT/STYLE/VERSION/...      files that never change, with SHA256SUMS, which is written first and claims the version
    ROOT/index.json             replaced by conditional writes, so that two concurrent writers lose nothing
    ROOT/index.schema.json      its JSON Schema

Accesses storage through `Place` only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_random_exponential

from tinystyle.data import storage
from tinystyle.errors import UnavailableError, UserError, closest
from tinystyle.release.publishing.folder import SUMS, Publication
from tinystyle.release.publishing.index import Index, PublishedVersion, schema_json
from tinystyle.release.publishing.places import Place, open_place

__all__ = ["DEFAULT_ROOT", "check_published", "publish_folder", "read_index", "rollback"]

DEFAULT_ROOT = "s3://models"
INDEX, SCHEMA = "index.json", "index.schema.json"
CONFLICT_SECONDS = 120.0
"""Maximum time, in seconds, to keep retrying when other writers update the index concurrently."""
_Result = TypeVar("_Result")


def publish_folder(
    folder: Path,
    *,
    style: str,
    version: int,
    root: str = DEFAULT_ROOT,
    run_id: str | None = None,
    metrics: Mapping[str, float] | None = None,
    reason: str = "",
) -> PublishedVersion:
    """Publish the exported files of a folder as a version, with all files that belong to them, and make it current.

    These are model cards, previews, Swift file, network and SHA256SUMS. If the call is interrupted, the same call
    completes it. If the version is already published with the same bytes, nothing changes, so a rollback is not undone.

    Args:
        folder: folder that `release.assemble.assemble` or `tracking.registry.fetch` wrote.
        style: registered name of the style.
        version: version number in the registry.
        root: s3://BUCKET[/PREFIX] or a local folder.
        run_id: MLflow run that produced the version.
        metrics: metrics for the index; by default those in the folder's evaluation.json.
        reason: text for the index's history.

    Returns:
        The entry of the version in the index.

    Raises:
        UserError: the folder is incomplete or damaged, or the version is already published with other bytes.
        OSError: the root cannot be read or written.
    """
    place = open_place(root)
    publication = Publication.read(folder, style, version, metrics)
    _read_index(place)  # detects a damaged index before anything is written
    for name, data in publication.files.items():
        _deliver(place, name, data, f"version {version} of {style}")
    published = publication.entry(_now(), run_id)
    index = _replace_index(place, lambda index: index.with_version(published, reason or "published"))
    return _found(index, style, version, root)


def rollback(style: str, root: str = DEFAULT_ROOT, version: int | None = None, *, reason: str = "") -> PublishedVersion:
    """Make an earlier version current in the index: `version`, or the one that was current before; no file is changed.

    Args:
        style: registered name of the style.
        root: s3://BUCKET[/PREFIX] or a local folder.
        version: a published version.
        reason: text for the index's history.

    Returns:
        The version that is current now.

    Raises:
        UserError: the style or the version is not published, or there is no earlier version.
        OSError: the root cannot be read or written.
    """
    place = open_place(root)
    index, _ = _read_index(place)
    _found(index, style, version, root)
    published = index.style(style)
    assert published is not None
    target = published.before if version is None else version
    if target is None:
        raise UserError(
            f"{style} has no version before {published.current} at {root}; there is nothing to roll back to"
        )
    if target == published.current:
        raise UserError(f"version {target} of {style} is the current one at {root} already")
    time, reason = _now(), reason or f"back from version {published.current}"

    def point_back(index: Index) -> Index:
        # The target is chosen only once: another writer in between must not change it.
        current = index.style(style)
        return index.rolled_back(current, target, time, reason) if current else index

    return _found(_replace_index(place, point_back), style, target, root)


def read_index(root: str = DEFAULT_ROOT) -> Index:
    """Return what is published at `root`; the index is empty if nothing is.

    Raises:
        UserError: the index is damaged, or has another schema version.
        OSError: it cannot be read.
    """
    return _read_index(open_place(root))[0]


def check_published(style: str, root: str = DEFAULT_ROOT, version: int | None = None) -> PublishedVersion:
    """Download every file of a published version, by default the current one, and compare it with SHA256SUMS and index.

    Raises:
        UserError: the version is not published, or a file, which is named, is missing or has other bytes.
        OSError: the root cannot be read.
    """
    place = open_place(root)
    found = _found(_read_index(place)[0], style, version, root)
    expected = {file.url: file.sha256 for file in found.files}
    sums = place.read(found.checksums)
    if sums is None:
        raise UserError(f"{storage.join(root, found.checksums)} is missing; publish version {found.version} again")
    prefix = found.checksums.removesuffix(SUMS)
    listed = {prefix + name: digest for digest, name in (line.split("  ", 1) for line in sums[0].decode().splitlines())}
    for name, digest in {**listed, **expected}.items():
        stored = place.read(name)
        if stored is None:
            raise UserError(f"{storage.join(root, name)} is missing; publish version {found.version} again")
        if not hashlib.sha256(stored[0]).hexdigest() == digest == listed.get(name):
            raise UserError(f"{storage.join(root, name)} does not hold what was published; roll {style} back")
    return found


def _deliver(place: Place, name: str, data: bytes, what: str) -> None:
    """Write a file unless it exists, and read it back to check what has arrived."""
    uri = storage.join(place.uri, name)

    def attempt() -> tuple[bool, bytes] | None:
        created = place.write(name, data, None) is not None
        stored = place.read(name)
        return (created, stored[0]) if stored else None  # another writer is changing it

    created, stored = _until_done(attempt, uri)
    if stored != data and created:
        raise UnavailableError(f"{uri} was not stored completely; remove it and publish again")
    if stored != data:
        raise UserError(
            f"{uri} holds other bytes, and {what} never changes once it is published; register the style anew for a new version"
        )


def _read_index(place: Place) -> tuple[Index, str | None]:
    stored = place.read(INDEX)
    return (Index.parse(stored[0], storage.join(place.uri, INDEX)), stored[1]) if stored else (Index(), None)


def _replace_index(place: Place, change: Callable[[Index], Index]) -> Index:
    """Replace the newest index by `change(index)` and return that; read again whenever another writer was faster."""

    def attempt() -> Index | None:
        index, revision = _read_index(place)
        changed = change(index)
        if changed is index:
            return index
        schema = place.read(SCHEMA)
        if schema is None or schema[0] != schema_json():
            place.write(SCHEMA, schema_json(), schema[1] if schema else None)  # if None, another writer has written it
        return changed if place.write(INDEX, changed.as_json(), revision) else None

    return _until_done(attempt, storage.join(place.uri, INDEX))


def _until_done(attempt: Callable[[], _Result | None], uri: str) -> _Result:
    """Call `attempt` until it returns a result; None means that another writer came in between."""
    retrying = Retrying(
        stop=stop_after_delay(CONFLICT_SECONDS),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        retry=retry_if_result(lambda result: result is None),
    )
    try:
        result = retrying(attempt)
    except RetryError as error:
        raise UnavailableError(f"{uri} is being updated by other writers; publish again later") from error
    assert result is not None
    return result


def _found(index: Index, style: str, version: int | None, root: str) -> PublishedVersion:
    """Return a published version; raise UserError if there is none."""
    published = index.style(style)
    if published is None:
        names = [style.name for style in index.styles]
        others = (
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}{closest(style, names)}" if names else "nothing is"
        )
        raise UserError(f"{style} is not published at {root}; {others}")
    found = published.version(version)
    if found is None:
        numbers = ", ".join(str(version.version) for version in published.versions)
        raise UserError(f"version {version} of {style} is not published at {root}; there is {numbers}")
    return found


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
