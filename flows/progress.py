"""Shows the progress of a training run in child processes, read from metrics.jsonl, as an artifact and in the log."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tinystyle.training.run_folder import RunFolder

__all__ = ["shown"]

LOOK_SECONDS = 5.0
LINE_SECONDS = 30.0
TAIL = 4096
"""Number of bytes at the end of metrics.jsonl that are sure to contain its last line."""


@contextmanager
def shown(run: Path, steps: int, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> Iterator[None]:
    """Show the progress of a training run in Prefect while the block runs: a progress artifact and log messages.

    Errors of Prefect's server are ignored.

    Args:
        run: folder of the run.
        steps: number of steps of the run.
        log: logger of the flow run.
    """
    artifact: Any = create_progress_artifact(0.0, description="steps trained")
    ended = threading.Event()

    def watch() -> None:
        said = monotonic() - LINE_SECONDS
        last = -1
        while True:
            over = ended.wait(LOOK_SECONDS)
            step, text = _newest(RunFolder(run).metrics)
            if step > last:
                last = step
                with suppress(Exception):
                    update_progress_artifact(artifact, 100 * step / steps, f"step {step} of {steps}: {text}")
                if over or monotonic() - said >= LINE_SECONDS:
                    said = monotonic()
                    log.info("step %d of %d: %s", step, steps, text)
            if over:
                return

    watcher = threading.Thread(target=watch, name="watch-training", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _newest(metrics: Path) -> tuple[int, str]:
    """Return the last step and a description of its losses; -1 before the first step."""
    try:
        with metrics.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            lines = file.read().split(b"\n")[:-1]  # what follows the last newline is not complete
    except OSError:
        return -1, ""
    for line in reversed(lines):
        with suppress(ValueError, KeyError, TypeError):  # a power cut may leave lines that are none
            values = json.loads(line)
            losses = ", ".join(f"{name} {values[name]:.3f}" for name in ("content", "style", "total"))
            return int(values["step"]), f"{losses}, {values['images_per_second']:.1f} images/s"
    return -1, ""
