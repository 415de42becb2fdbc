"""Publishes verified files at s3://models/STYLE/VERSION/ and an index. Does not depend on Prefect or torch."""

from __future__ import annotations

from tinystyle.release.publishing.index import (
    HistoryEntry,
    Index,
    PublishedFile,
    PublishedStyle,
    PublishedVersion,
)
from tinystyle.release.publishing.places import presign
from tinystyle.release.publishing.upload import (
    DEFAULT_ROOT,
    check_published,
    publish_folder,
    read_index,
    rollback,
)

__all__ = [
    "DEFAULT_ROOT",
    "HistoryEntry",
    "Index",
    "PublishedFile",
    "PublishedStyle",
    "PublishedVersion",
    "check_published",
    "presign",
    "publish_folder",
    "read_index",
    "rollback",
]
