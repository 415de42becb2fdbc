"""Finds the network of a run where its folder is named, and the settings that a network was trained with.

Wherever a model is asked for, the folder of a run is one too. Imports no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinystyle.config import PARAMETERS, flat
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.nets.perceptual import PERCEPTUAL_NETWORKS, perceptual_sha256
from tinystyle.styles import pretrained, selection
from tinystyle.training.record import RunInTheWayError, RunRecord
from tinystyle.training.run_folder import BEST, LAST, MODEL, RUN_FILE
from tinystyle.training.style_list import addresses

__all__ = ["model_of", "trained_with"]

_LOG = logging.getLogger(__name__)
_FILES = (".safetensors", ".ckpt", ".mlmodel", ".mlpackage")
_MEASURED = (
    *(
        "style",
        "photos",
        "perceptual",
        "perceptual_weights",
        "style_scale",
        "style_size",
        "content_weight",
        "style_weight",
    ),
    *("style_layer_weights", "sliced_share", "size"),
)
"""Parameters of a run that decide how its network is measured."""


def model_of(place: str | Path, style: str | None = None) -> str:
    """Return the model file that `place` means, and log it if it is not `place` itself.

    A style of a network of many is selected by `style`, or in `place` itself, as PLACE#STYLE; the result is FILE#STYLE.

    Args:
        place: a model file, which is returned as it is; or the folder of a run, or its run.json: its model.safetensors,
            or best.ckpt while it is not completed, or else last.ckpt.
        style: name of a style, or shares of several, such as wave=0.5,mosaic=0.5.

    Raises:
        UserError: it does not exist, as far as that is known without asking a server, or is a folder without a model; or
            a style is selected twice.
    """
    folder, chosen = selection.split(selection.join(str(place), style))
    return selection.join(_model_of(folder), chosen)


def _model_of(folder: str) -> str:
    place = folder
    if pretrained.is_pretrained(folder):
        pretrained.path_of(folder)
        return folder
    if not storage.is_remote(folder) and not storage.local_path(folder).exists():
        raise pretrained.not_found(place)
    if folder.rstrip("/").endswith(_FILES):
        return folder
    if folder.endswith(f"/{RUN_FILE}") or folder == RUN_FILE:
        folder = folder[: -len(RUN_FILE)] or "."
    elif not _is_folder(folder):
        return folder
    record = _record(folder)
    elsewhere = record.config.execution.checkpoints if record else None
    for home in (folder, elsewhere):
        for name in (MODEL, BEST, LAST):
            if home and storage.exists(found := storage.join(home, name)):
                state = f", of a run at step {record.step}" if record and name != MODEL else ""
                _LOG.info("Using %s%s", found, state)
                return found
    raise UserError(f"{place}: is a folder without a {MODEL}, {BEST} or {LAST}{_runs_in(folder)}")


def trained_with(model: str, lineage: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete parameters with those that a network was trained with, as far as they matter to measure it.

    Args:
        model: the model file. If run.json is beside it and is of the same run, everything is known.
        lineage: lineage in the model file, from which loss network and crop size follow.
        given: values by the names of `PARAMETERS` that take precedence.

    Returns:
        Values by the names of `PARAMETERS`, such as perceptual, size and style.
    """
    known = _known(model, lineage)
    if given.get("perceptual", known.get("perceptual")) != known.get("perceptual"):  # these belong to a loss network
        known = {
            name: value for name, value in known.items() if name not in ("perceptual_weights", "style_layer_weights")
        }
    return {**known, **given}


def _known(model: str, lineage: Mapping[str, str]) -> dict[str, Any]:
    model, chosen = selection.split(model)
    record = None if pretrained.is_pretrained(model) else _record(model.rpartition("/")[0] or ".")
    if record and record.lineage.get("key") == lineage.get("key", record.lineage.get("key")):
        values = flat(record.config)
        if (
            record.config.styles or record.config.freeze_trunk
        ):  # of a mixture, or of a style that an earlier run made, there is no image
            values["style"] = addresses(record.config).get(chosen or "")
        return {name: values[name] for name in _MEASURED if values[name] is not None}
    known: dict[str, Any] = {"size": int(lineage["crop"])} if lineage.get("crop", "").isdecimal() else {}
    for name in PERCEPTUAL_NETWORKS:
        if name != PARAMETERS["perceptual"].default and lineage.get("perceptual") == _sha256(name):
            known["perceptual"] = name
    return known


def _sha256(name: str) -> str | None:
    try:
        return perceptual_sha256(name)
    except UserError:  # its package is not installed
        return None


def _is_folder(place: str) -> bool:
    if storage.is_remote(place):
        return not place.startswith("http") and any(
            storage.exists(storage.join(place, name)) for name in (RUN_FILE, MODEL)
        )
    return storage.local_path(place).is_dir()


def _record(folder: str) -> RunRecord | None:
    try:
        return RunRecord.read(folder)
    except (OSError, RunInTheWayError):
        return None


def _runs_in(folder: str) -> str:
    if storage.is_remote(folder):
        return ""
    runs = sorted(each.parent for each in storage.local_path(folder).glob(f"*/{RUN_FILE}"))
    if runs:
        return f"; give one of the runs in it, such as {runs[0]}"
    files = sorted(each for suffix in _FILES for each in storage.local_path(folder).glob(f"*{suffix}"))
    return f"; give a file in it, such as {files[0]}" if files else ""
