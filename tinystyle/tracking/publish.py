"""Publishes a version of the model registry, as `tinystyle.release.publishing` does for a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tinystyle.release.publishing import DEFAULT_ROOT, PublishedVersion, publish_folder
from tinystyle.release.publishing.places import open_place
from tinystyle.tracking import registry
from tinystyle.tracking.registry import ModelVersion

__all__ = ["publish_version"]

_METRIC_TAGS = {
    "content": "content", "style": "style_loss", "total": "total", "paint3": "paint3", "paint4": "paint4",
    "bad_blocks": "bad_blocks", "weights": "weights",
}  # fmt: skip


def publish_version(version: ModelVersion, root: str = DEFAULT_ROOT, *, reason: str = "") -> PublishedVersion:
    """Download the files of a registered version and publish them; see `publish_folder`.

    Args:
        version: the version.
        root: s3://BUCKET[/PREFIX] or a local folder.
        reason: text for the history of the index.

    Raises:
        UserError, OSError: as in `fetch` and `publish_folder`.
    """
    open_place(root)  # reports an invalid root before anything is fetched
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as folder:
        return publish_folder(
            registry.fetch(version, Path(folder)),
            style=version.style,
            version=version.version,
            root=root,
            run_id=version.run_id,
            metrics=_tagged(version.tags),
            reason=reason,
        )


def _tagged(tags: Mapping[str, str]) -> dict[str, float]:
    """Return the metrics in a version's tags that the index contains."""
    metrics = {}
    for name, tag in _METRIC_TAGS.items():
        with suppress(KeyError, ValueError):
            metrics[name] = float(tags[tag])
    return metrics
