"""`python -m infra.stack health`: the health of the whole stack, by its processes and by what its servers answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra import certificates, lifecycle
from infra.settings import read_environment
from tinystyle.commands.doctor import diagnose
from tinystyle.commands.doctor.findings import Finding, fail, ok, warn
from tinystyle.commands.doctor.machine import disk_of

__all__ = ["health", "store_certificate"]

_EXPIRY_DAYS = 30


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
    found += [disk_of("stack", folder), store_certificate(folder)]
    return [*found, *diagnose(read_environment(folder / "env"), only_servers=True)]


def store_certificate(folder: Path) -> Finding:
    """Check how long the store's servers will go on trusting each other; they get new certificates when it is started."""
    try:
        ends = certificates.expiry(folder / "certificates")
    except FileNotFoundError:
        return fail("certificates", "the store's servers have none", "run `make stack-down`, then `make stack`")
    days = (ends - datetime.now(UTC)).days
    if days < 0:
        text = f"that of the store's servers ended on {ends:%Y-%m-%d}"
        return fail("certificates", text, "run `make stack-down`, then `make stack`, which renews it")
    text = f"that of the store's servers ends on {ends:%Y-%m-%d}, in {days} days"
    if days >= _EXPIRY_DAYS:
        return ok("certificates", text)
    return warn("certificates", text, "run `make stack-down`, then `make stack`, which renews it")
