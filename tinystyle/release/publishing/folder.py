"""What of a folder, as `assembly.assemble` or `registry.fetch` leaves it, is published. Knows no storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tinystyle.errors import UserError
from tinystyle.release.listing import CoreMLFile, read_listing
from tinystyle.release.publishing.index import PublishedFile, PublishedVersion
from tinystyle.tracking.registry import check_style

__all__ = ["SUMS", "Publication"]

SUMS, SWIFT, MODEL, EVALUATION = "SHA256SUMS", "StyleTransfer.swift", "model.safetensors", "evaluation.json"
METRICS = ("content", "style", "total", "paint3", "paint4", "bad_blocks", "weights")
"""Losses and paint on held-out photos, share of bad blocks, number of weights."""


@dataclass(frozen=True)
class Publication:
    """The files of one version, read and checked."""

    style: str
    version: int
    entries: list[CoreMLFile]
    files: dict[str, bytes]
    """Address relative to the root -> content: SHA256SUMS first, then Core ML files, cards, previews, Swift file, network."""
    metrics: dict[str, float]

    @classmethod
    def read(cls, folder: Path, style: str, version: int, metrics: Mapping[str, float] | None = None) -> Publication:
        """Read a folder; its evaluation.json gives the `metrics` where they are not given.

        Raises:
            ValueError: something is missing, or is not what files.json says.
        """
        check_style(style)
        if version < 1:
            raise UserError(f"version {version} of {style} cannot be published; versions count from 1")
        entries = read_listing(folder / "coreml")
        files = _collect(folder, entries)
        prefix = f"{style}/{version}/"
        return cls(
            style,
            version,
            entries,
            {prefix + name: data for name, data in files.items()},
            _evaluated(folder) if metrics is None else dict(metrics),
        )

    def entry(self, published: datetime, run_id: str | None) -> PublishedVersion:
        """What the index says of it."""
        prefix = f"{self.style}/{self.version}/"
        return PublishedVersion(
            style=self.style,
            version=self.version,
            published=published,
            run_id=run_id,
            files=tuple(self._file(entry, prefix) for entry in self.entries),
            swift=prefix + SWIFT,
            model=prefix + MODEL,
            checksums=prefix + SUMS,
            metrics=self.metrics,
        )

    def _file(self, entry: CoreMLFile, prefix: str) -> PublishedFile:
        beside = prefix + entry.coreml_name
        preview = f"{beside}.png" if f"{beside}.png" in self.files else None
        return PublishedFile(**entry.model_dump(), url=prefix + entry.name, card=f"{beside}.md", preview=preview)


def _collect(folder: Path, entries: list[CoreMLFile]) -> dict[str, bytes]:
    """Name -> content, SHA256SUMS first."""
    paths = {MODEL: folder / "model" / MODEL, SWIFT: folder / "coreml" / SWIFT}
    for entry in entries:
        for name in (entry.name, f"{entry.coreml_name}.md", f"{entry.coreml_name}.png"):
            paths[name] = folder / "coreml" / name
        if not paths[f"{entry.coreml_name}.png"].is_file():  # a style may have no preview
            del paths[f"{entry.coreml_name}.png"]
    try:
        files = {name: path.read_bytes() for name, path in paths.items()}
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); fetch the style again") from error
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for entry in entries:
        if (digests[entry.name], len(files[entry.name])) != (entry.sha256, entry.bytes):
            raise UserError(f"{paths[entry.name]} is not the file that was verified; fetch the style again")
    sums = "".join(f"{digests[name]}  {name}\n" for name in sorted(files))
    return {SUMS: sums.encode(), **files}


def _evaluated(folder: Path) -> dict[str, float]:
    """Of evaluation.json, whose last row is the network's; empty if there is none."""
    path = folder / EVALUATION
    if not path.is_file():
        return {}
    try:
        report: Any = json.loads(path.read_bytes())
        row = report["rows"][-1] | {"weights": report["weights"]}
        return {name: float(row[name]) for name in METRICS if name in row}  # paint is not in evaluations of before
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{path} is damaged; fetch the style again") from error
