"""What differs between a source and the dataset that was ingested from it, and what of it an ingest does."""

from __future__ import annotations

from collections.abc import Sequence

from tinystyle.data.file_kinds import is_worth_another_try
from tinystyle.data.shard_writer import ShardWriter
from tinystyle.data.sources import Source

__all__ = ["changes_of", "cut", "groups_to_do", "has_changed", "looked_at_again"]


def groups_to_do(source: Source, writer: ShardWriter, photos_per_shard: int) -> list[Sequence[str]]:
    """Return the names of the files that are still to be ingested, in one group for each additional shard.

    These are new files, and quarantined ones that could not be read, have changed, or whose format is read by now.

    Args:
        source: the source; all its files.
        writer: the dataset so far.
        photos_per_shard: maximum size of a group.
    """
    standing, names = set(writer.names_by_hash.values()), source.names()
    new = [name for name in names if name not in standing and name not in writer.quarantined]
    # After the new names, so that shards are cut where an uninterrupted run would cut them.
    again = [name for name in names if name in writer.quarantined and looked_at_again(name, source, writer)]
    return [*cut(new, photos_per_shard), *cut(again, photos_per_shard)]


def looked_at_again(name: str, source: Source, writer: ShardWriter) -> bool:
    """Return whether a quarantined file may be usable now: it could not be read, has changed, or its format is read by now."""
    return is_worth_another_try(writer.quarantined[name]) or has_changed(name, source, writer)


def has_changed(name: str, source: Source, writer: ShardWriter) -> bool:
    """Return whether a file of the source differs from what was ingested; False if that is not known."""
    return writer.states.get(name, source.state(name)) != source.state(name)


def changes_of(source: Source, writer: ShardWriter) -> str:
    """Return in words which photos of a dataset have changed or vanished since they were ingested; "" if none has."""
    files, photos = set(source.names()), writer.names_by_hash.values()
    vanished = sum(name not in files for name in photos)
    changed = sum(name in files and has_changed(name, source, writer) for name in photos)
    if not (vanished or changed):
        return ""
    return (
        f"since the ingest, {changed:,} of its photos have changed at {source.uri} and {vanished:,} have vanished; "
        "`sync` brings it in line"
    )


def cut(names: Sequence[str], length: int) -> list[Sequence[str]]:
    return [names[start : start + length] for start in range(0, len(names), length)]
