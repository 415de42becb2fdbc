"""`python -m infra.stack health`: the health of the whole stack, by its processes and by what its servers answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra import lifecycle
from infra.settings import read_environment
from tinystyle.commands.doctor import diagnose
from tinystyle.commands.doctor.findings import Finding, fail, ok
from tinystyle.commands.doctor.machine import disk_of

__all__ = ["health"]


def health(folder: Path) -> Sequence[Finding]:
    """Check every process of the stack in `folder`, its disk, and its servers with the credentials of its clients.

    Raises:
        UserError: there is no stack in `folder`.
    """
    states = lifecycle.status(folder)
    down = [state.name for state in states if not state.process]
    found = [
        fail("processes", f"{name} does not run", f"run `make stack`; its log is {folder}/log/{name}.log")
        for name in down
    ]
    running = ", ".join(f"{state.name} {state.memory / 2**20:.0f} MiB" for state in states if state.process)
    if running:
        found.append(ok("processes", f"running: {running}"))
    found.append(disk_of("stack", folder))
    return [*found, *diagnose(read_environment(folder / "env"), only_servers=True)]
