"""Reads and checks the files to publish, in a folder that `release.assemble` or `tracking.registry.fetch` wrote.

Does not depend on storage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tinystyle import coreml
from tinystyle.errors import UserError
from tinystyle.release.bundle import MODEL_FILE, SUMS, SWIFT_FILE, Bundle, ReleaseFile, check_name
from tinystyle.release.publishing.index import PublishedFile, PublishedVersion

__all__ = ["SUMS", "Publication"]

METRICS = ("content", "style", "total", "paint3", "paint4", "bad_blocks", "weights")
"""Names of published metrics: losses, paint metrics and fraction of bad blocks on held-out photos; weight count."""


@dataclass(frozen=True)
class Publication:
    """The files of one version, as they are published."""

    style: str
    version: int
    entries: list[ReleaseFile]
    files: dict[str, bytes]
    """Address relative to the root -> content: SHA256SUMS, network, Swift file if any, then exported files with their cards."""
    metrics: dict[str, float]

    @classmethod
    def read(cls, folder: Path, style: str, version: int, metrics: Mapping[str, float] | None = None) -> Publication:
        """Read a folder and compare its files with files.json.

        Args:
            folder: folder that `assemble` or `fetch` wrote.
            style: registered name of the style.
            version: version number in the registry, from 1.
            metrics: metrics for the index; by default those in the folder's evaluation.json.

        Raises:
            UserError: the name or the version is invalid, or a file is missing or differs from files.json.
        """
        check_name(style)
        if version < 1:
            raise UserError(f"version {version} of {style} cannot be published; versions count from 1")
        bundle = Bundle(folder)
        entries = bundle.check()
        files = _collect(bundle, entries)
        prefix = f"{style}/{version}/"
        return cls(
            style,
            version,
            entries,
            {prefix + name: data for name, data in files.items()},
            _evaluated(bundle) if metrics is None else dict(metrics),
        )

    def entry(self, published: datetime, run_id: str | None) -> PublishedVersion:
        """Return the entry of this version in the index."""
        prefix = f"{self.style}/{self.version}/"
        return PublishedVersion(
            style=self.style,
            version=self.version,
            published=published,
            run_id=run_id,
            files=tuple(self._file(entry, prefix) for entry in self.entries),
            swift=prefix + SWIFT_FILE if prefix + SWIFT_FILE in self.files else None,
            model=prefix + MODEL_FILE,
            checksums=prefix + SUMS,
            metrics=self.metrics,
        )

    def _file(self, entry: ReleaseFile, prefix: str) -> PublishedFile:
        beside = prefix + entry.export_name
        preview = f"{beside}.png" if f"{beside}.png" in self.files else None
        return PublishedFile(**entry.model_dump(), url=prefix + entry.name, card=f"{beside}.md", preview=preview)


def _collect(bundle: Bundle, entries: list[ReleaseFile]) -> dict[str, bytes]:
    """Return name -> content, SHA256SUMS first."""
    paths = [bundle.model, *([bundle.swift] if any(entry.format in coreml.FORMATS for entry in entries) else [])]
    for entry in entries:
        paths += [bundle.file(entry), bundle.card(entry)]
        if bundle.preview(entry).is_file():
            paths.append(bundle.preview(entry))
    try:
        files = {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); fetch the style again") from error
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return {SUMS: sums.encode(), **files}


def _evaluated(bundle: Bundle) -> dict[str, float]:
    """Return the metrics of the network, which is the last row of its evaluation; empty if there is no evaluation."""
    report = bundle.report()
    if report is None:
        return {}
    row = report["rows"][-1] | {"weights": report["weights"]}
    return {name: float(row[name]) for name in METRICS if name in row}  # older evaluations have no paint metrics
