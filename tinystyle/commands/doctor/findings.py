"""What a check finds, and how checks run: all at once, each for a limited time, whatever they raise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Check", "Finding", "Status", "fail", "healthy", "ok", "run_checks", "skipped", "warn"]

Status = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One fact about the set-up."""

    check: str
    """Subject, such as disk or prefect."""
    status: Status
    """`fail`: something that is configured does not work. `warn`: it works, but will not for long or not in full."""
    what: str
    """What was found, in one sentence without a period; never a secret."""
    remedy: str = ""
    """What to do; empty if there is nothing to do."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(check: str, what: str) -> Finding:
    return Finding(check, "ok", what)


def skipped(check: str, why: str) -> Finding:
    return Finding(check, "skipped", why)


def warn(check: str, what: str, remedy: str) -> Finding:
    return Finding(check, "warn", what, remedy)


def fail(check: str, what: str, remedy: str) -> Finding:
    return Finding(check, "fail", what, remedy)


@dataclass(frozen=True)
class Check:
    """A function that looks at one subject."""

    name: str
    look: Callable[[], Iterable[Finding]]
    seconds: float = 15.0
    """Time after which it counts as hanging."""


def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks at the same time, and return their findings in the order of `checks`."""
    found: dict[str, list[Finding]] = {}

    def look(check: Check) -> None:
        try:
            found[check.name] = list(check.look())
        except Exception as error:  # a check that fails is a finding, and must not hide those of others
            text = " ".join(str(error).split())[:300]
            found[check.name] = [
                fail(check.name, f"the check failed: {type(error).__name__}: {text}", "report this as a bug")
            ]

    # Daemons, since an executor would wait for threads that hang when the process ends.
    threads = [threading.Thread(target=look, args=[check], daemon=True) for check in checks]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for check, thread in zip(checks, threads, strict=True):
        thread.join(max(0.0, started + check.seconds - time.monotonic()))
    return [finding for check in checks for finding in found.get(check.name) or [_hanging(check)]]


def _hanging(check: Check) -> Finding:
    return fail(
        check.name, f"no result within {check.seconds:g} s", "see whether the machine or the network is overloaded"
    )


def healthy(findings: Iterable[Finding]) -> bool:
    """Return whether nothing failed."""
    return all(finding.status != "fail" for finding in findings)
