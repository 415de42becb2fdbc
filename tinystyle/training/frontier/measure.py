"""Measures one row per run: its quality, by a `Judge`, and the cost of its network. Does not display the rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from tinystyle.coreml.exporter.convert import export_model
from tinystyle.errors import UserError
from tinystyle.evaluation import color_match, identity
from tinystyle.evaluation.model_report import HEIGHT, WIDTH
from tinystyle.model_file import LoadedModel, load_model
from tinystyle.nets import build_network
from tinystyle.nets.cost import network_cost
from tinystyle.training.frontier.judge import FIGURES, Judge
from tinystyle.training.frontier.rows import Row, RowFile
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RunFolder

__all__ = ["baseline_rows", "mlmodel_bytes", "run_row"]

BITS = 8


def baseline_rows(judge: Judge, image: str, name: str, sha256: str, file: RowFile) -> list[Row]:
    """Return the rows of the baselines `identity` and `color match` for a style; measure them if not in `file`.

    Args:
        judge: measures the baselines.
        image: the style image.
        name: name of the style.
        sha256: SHA-256 of the style image's pixels.
        file: receives the rows.
    """
    candidates = {"identity": identity, "color match": color_match(judge.style_tensor(image))}
    keys = {candidate: f"{sha256[:16]} {candidate}" for candidate in candidates}
    if any(file.get(key, judge.key) is None for key in keys.values()):
        for measured in judge.rows(image, candidates):
            file.append(
                Row(
                    key=keys[measured.name],
                    judge=judge.key,
                    style=sha256,
                    style_name=name,
                    image=image,
                    name=measured.name,
                    state="baseline",
                    **{figure: getattr(measured, figure) for figure in FIGURES},
                )
            )
    return [row for key in keys.values() if (row := file.get(key, judge.key))]


def run_row(judge: Judge, record: RunRecord, folder: Path, image: str) -> Row:
    """Return the row of a run that has ended. It has only costs if the run did not complete or gave non-finite output.

    Args:
        judge: measures the network.
        record: record of the run.
        folder: folder of the run; contains the model if the run is completed.
        image: current location of its style image.
    """
    network = record.config.network
    if record.state != "completed":
        with torch.device("meta"):
            cost = network_cost(build_network(network.architecture, network.alpha), WIDTH, HEIGHT)
        return Row.of_run(
            record,
            folder,
            image,
            judge.key,
            "collapsed" if record.state == "collapsed" else "failed",
            message=record.message,
            weights=cost.weights,
            macs=cost.macs,
        )
    model = load_model(RunFolder(folder).model)
    cost = network_cost(model.network, WIDTH, HEIGHT)
    costs = {"weights": cost.weights, "macs": cost.macs, "bytes": mlmodel_bytes(model)}
    name = f"{network.architecture} {network.alpha:g}"
    stylize = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    figures: dict[str, Any]
    try:
        (measured,) = judge.rows(image, {name: stylize})
    except UserError as error:  # an output is not finite
        return Row.of_run(record, folder, image, judge.key, "collapsed", message=str(error), **costs)
    figures = {figure: getattr(measured, figure) for figure in FIGURES}
    return Row.of_run(record, folder, image, judge.key, "completed", **costs, **figures)


def mlmodel_bytes(model: LoadedModel) -> int:
    """Export the model as an .mlmodel with 8 bits per weight at 640x480, and return the size of the file in bytes."""
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as folder:
        out = Path(folder) / "model.mlmodel"
        return export_model(model, format="mlmodel", bits=BITS, size=(WIDTH, HEIGHT), out=out).bytes
