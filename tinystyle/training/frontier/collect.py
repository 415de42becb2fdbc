"""Finds finished runs in folders, instead of training them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinystyle import styles
from tinystyle.errors import UserError
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RUN_FILE, RunFolder

__all__ = ["Collected", "collect"]

_LOG = logging.getLogger(__name__)

ENDED = ("completed", "collapsed")


@dataclass(frozen=True)
class Collected:
    """A run that has ended, and the current location of its style image."""

    folder: Path
    record: RunRecord
    image: str


def collect(folders: Sequence[Path], images: Sequence[str]) -> list[Collected]:
    """List the ended runs in `folders`, ordered by style, architecture and alpha.

    Args:
        folders: folders to search; each is the folder of a run, or a folder of such folders.
        images: style images (paths, URIs or `builtin:NAME`), for runs whose own image has since moved.

    Raises:
        UserError: a folder is missing or contains no run that has ended, a record is damaged, or the style image of a
            run is not found.
    """
    given = {styles.Style.load(image).sha256: image for image in images}
    found: dict[str, Collected] = {}
    places: dict[str, str] = {}
    for top in folders:
        if not top.is_dir():
            raise UserError(f"{top}: no such folder; give the folder of a run, or a folder that contains such folders")
        ended = list(_ended(top))
        if not ended:
            raise UserError(
                f"{top} holds no run that has ended ({RUN_FILE} and model.safetensors); give another folder"
            )
        for folder, record in ended:
            sha256 = record.lineage["style"]
            if sha256 not in places:
                places[sha256] = given.get(sha256) or _image_of(folder, record)
            found.setdefault(record.lineage["key"], Collected(folder, record, places[sha256]))
    return sorted(found.values(), key=_order)


def _ended(top: Path) -> Iterator[tuple[Path, RunRecord]]:
    folders = [top] if (top / RUN_FILE).exists() else sorted(path.parent for path in top.glob(f"*/{RUN_FILE}"))
    for folder in folders:
        record = RunRecord.read(folder)
        if not {"key", "style", "style_name"} <= record.lineage.keys():
            raise UserError(f"{folder / RUN_FILE} does not say what the run was made from; leave its folder out")
        if record.state in ENDED and (record.state == "collapsed" or RunFolder(folder).model.exists()):
            yield folder, record
        else:
            _LOG.warning(
                "%s is left out: it is %s at step %d of %d",
                folder,
                record.state,
                record.step,
                record.config.optimizer.steps,
            )


def _image_of(folder: Path, record: RunRecord) -> str:
    """Return the style image named in the record, if it exists and is unchanged.

    Raises:
        UserError: it cannot be read or has changed.
    """
    image = record.config.style
    try:
        if styles.Style.load(image).sha256 == record.lineage["style"]:
            return image
        problem = "has changed since"
    except UserError:
        problem = "cannot be read"
    raise UserError(f"{folder} was trained on {image}, which {problem}; give the image with `style`")


def _order(run: Collected) -> tuple[str, str, str, float]:
    network = run.record.config.network
    return run.record.lineage["style_name"], run.record.lineage["style"], network.architecture, network.alpha
