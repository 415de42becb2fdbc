"""A grid of micro-networks, and rows of results without training any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinystyle.config import DataConfig, LossConfig, OptimizerConfig, RunConfig
from tinystyle.training.frontier.experiment import Options
from tinystyle.training.frontier.rows import Row
from tinystyle.training.record import RunRecord, State
from tinystyle.training.runner import fit

__all__ = ["ending", "launch_here", "micro_options", "row"]


def micro_options(dataset: Path, out: Path, **changes: Any) -> Options:
    """A grid of `small` in one style: 0.1 and 0.2, trained for three steps, and 0.02, which cannot be."""
    recipe = RunConfig(
        style="",
        photos=str(dataset),
        loss=LossConfig(perceptual="efficientnet-lite0"),
        data=DataConfig(size=48, batch_size=2),
        optimizer=OptimizerConfig(steps=3),
    )
    asked = {"styles": ["builtin:mosaic"], "architectures": ["small"], "alphas": [0.02, 0.1, 0.2], **changes}
    return Options(out=out, recipe=recipe, **asked)


def launch_here(_record: RunRecord, folder: Path) -> RunRecord:
    """As `launch`, without processes of its own."""
    return fit(folder, show_progress=False)


def ending(state: State, message: str) -> Callable[..., RunRecord]:
    """A `launch` of which the run ends so."""

    def launch(record: RunRecord, folder: Path) -> RunRecord:
        record.update(folder, state=state, message=message, step=2)
        return record

    return launch


def row(name: str = "small 0.1", **changes: Any) -> Row:
    """A row of a completed run, without measuring."""
    architecture, alpha = name.split()
    values: dict[str, Any] = {
        "key": name, "judge": "judge", "style": "a" * 64, "style_name": "waves", "image": "paintings/waves.jpg",
        "name": name, "state": "completed", "architecture": architecture, "alpha": float(alpha), "folder": f"runs/{name}",
        "content": 0.5, "paint3": 0.25, "paint4": 0.5, "score": 2.0, "weights": 1000, "bytes": 2000, "macs": 10**9,
        "latency_ms": 50.0,
    }  # fmt: skip
    return Row(**{**values, **changes})
