"""A training process that is started while its command still finds out what it is to train.

What it imports takes as long as that, and the two are done at the same time.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tinystyle.config import ExecutionConfig
from tinystyle.training.torchrun import start_child
from tinystyle.training.worker import WAIT

__all__ = ["Standby"]


class Standby:
    """At most one such process; the block that it is the context of ends it, unless it was taken."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, execution: ExecutionConfig) -> None:
        """Start the process, if the run will be one process on one machine."""
        if not self._child and execution.devices == execution.nodes == 1:
            self._child = start_child(["tinystyle.training.worker", WAIT], stdin=subprocess.PIPE)

    def take(self, folder: Path) -> subprocess.Popen[bytes] | None:
        """Let the process train the run in `folder` and return it; None if there is none, or it has ended."""
        child, self._child = self._child, None
        if not child:
            return None
        assert child.stdin
        try:
            child.stdin.write(json.dumps(str(folder)).encode() + b"\n")
            child.stdin.close()
        except OSError:
            child.wait()
            return None
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child:
            self._child.kill()
            self._child.communicate()
            self._child = None
