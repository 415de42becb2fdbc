"""The runs of a grid of styles, architectures and alphas, validated together and then trained one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinystyle import nets, styles
from tinystyle.config import NetworkConfig, RunConfig
from tinystyle.data.ingest import Progress
from tinystyle.errors import UserError
from tinystyle.training.launch import launch, prepare
from tinystyle.training.record import RunInTheWayError, RunRecord

__all__ = ["Cell", "StoppedError", "make_grid", "prepare_cell", "train_cell"]

_LOG = logging.getLogger(__name__)


class StoppedError(RuntimeError):
    """A training run was stopped by SIGTERM or SIGINT; the same command resumes it."""


@dataclass(frozen=True)
class Cell:
    """One combination of style, architecture and alpha."""

    config: RunConfig
    folder: Path
    impossible: str = ""
    """Why this network cannot be built, in one sentence; empty if it can."""

    @property
    def style_name(self) -> str:
        """Name of the style image."""
        return styles.image_name(self.config.style)


def make_grid(
    recipe: RunConfig, images: Sequence[str], architectures: Sequence[str], alphas: Sequence[float], folder: Path
) -> list[Cell]:
    """List every combination, style by style, each with a folder STYLE-ARCHITECTURE-ALPHA inside `folder`.

    Args:
        recipe: configuration shared by all runs; its style and network are replaced.
        images: style images: paths, URIs or `builtin:NAME`.
        architectures: architectures of the networks.
        alphas: width multipliers of the networks.
        folder: folder that contains the folders of the runs.

    Raises:
        UserError: a value is invalid, a list is empty or has duplicates, a style image cannot be read, two images have
            the same name, or no network of the grid can be built.
    """
    for option, values in (("`style`", images), ("`architecture`", architectures), ("`alpha`", alphas)):
        if not values:
            raise UserError(f"{option} is missing; give at least one, or finished runs with `collect`")
        twice = next((value for index, value in enumerate(values) if value in values[:index]), None)
        if twice is not None:
            raise UserError(f"{option} {twice} is given twice; give each once")
    networks = [NetworkConfig(architecture=name, alpha=alpha) for name in architectures for alpha in alphas]
    reasons = {network: _impossible(network) for network in networks}
    if all(reasons.values()):
        raise UserError(f"no network of the grid can be built: {reasons[networks[0]]}")
    names = [styles.image_name(image) for image in images]
    if len(set(names)) < len(names):
        raise UserError(f"`style`: two images have the same name ({', '.join(sorted(names))}); rename one")
    for image in images:
        styles.load_style(image, recipe.loss.style_side(recipe.data.size))
    execution = recipe.execution.model_copy(update={"track": False})
    return [
        Cell(
            recipe.model_copy(update={"style": image, "network": network, "execution": execution}),
            folder / f"{styles.image_name(image)}-{network.architecture}-{network.alpha:g}",
            reasons[network],
        )
        for image in images
        for network in networks
    ]


def _impossible(network: NetworkConfig) -> str:
    import torch

    try:
        with torch.device("meta"):
            nets.build_network(network.architecture, network.alpha)
    except UserError as error:
        return str(error)
    return ""


def prepare_cell(cell: Cell, progress: Progress | None = None) -> RunRecord:
    """Validate everything that the run needs and write its record, as `tinystyle train` does.

    Raises:
        UserError: an input is missing or damaged, this machine cannot execute the run, or the folder contains a
            different run.
        OSError: a file cannot be read or written.
    """
    try:
        return prepare(cell.config, cell.folder, resume=True, progress=progress)
    except RunInTheWayError as error:
        # This command has no `resume` option, because "never" would restart all of its runs.
        raise UserError(f"{error.problem}; choose another `out`, or remove {cell.folder}") from error


def train_cell(cell: Cell, record: RunRecord) -> RunRecord:
    """Train a prepared run from its last checkpoint to its end; return a completed one unchanged.

    Raises:
        StoppedError: the run was stopped by SIGTERM or SIGINT.
    """
    if record.state == "completed":
        return record
    steps = cell.config.optimizer.steps
    resumed = f", resumed at step {record.step}" if record.step else ""
    _LOG.info("%s: training for %d steps%s", cell.folder.name, steps, resumed)
    record = launch(record, cell.folder)
    if record.state == "stopped":
        raise StoppedError(f"{cell.folder.name}: {record.message}")
    if record.state == "collapsed":  # the rest of the message suggests options that this command does not have
        record.update(cell.folder, message=record.message.partition("; try ")[0])
    return record
