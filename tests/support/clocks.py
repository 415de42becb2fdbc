"""A clock for processes of a test that can be set while they run. Wants a C compiler."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Clock"]


@dataclass(frozen=True)
class Clock:
    """The wall clock of processes that have its environment; their monotonic clocks are the machine's, as in reality."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process; skips the test where no compiler is."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler here")
        library = self.folder / "clock.so"
        if not library.exists():
            source = Path(__file__).with_name("clock.c")
            subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        return {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self.folder / "clock")}

    def set(self, hours: float) -> None:
        """Let it show so many hours more than the machine's."""
        (self.folder / "clock").write_text(str(round(3600 * hours)))
