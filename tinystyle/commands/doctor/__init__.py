"""`tinystyle doctor`: is everything set up, and if not, what is to be done."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tinystyle.commands.terminal import FAILED, screen

if TYPE_CHECKING:
    from tinystyle.commands.doctor.findings import Finding

__all__ = ["diagnose", "doctor", "report"]


def diagnose(environment: Mapping[str, str], prefix: str = "", only_servers: bool = False) -> Sequence[Finding]:
    """Run all checks; takes seconds, since none waits longer than its limit and all run at once.

    Args:
        environment: variables that name servers, credentials and folders.
        prefix: prefix of the buckets' names.
        only_servers: leave out this machine's packages, GPU and disk.
    """
    from tinystyle.commands.doctor import machine, servers, store, transport
    from tinystyle.commands.doctor.findings import Check, run_checks

    own = [
        Check("versions", machine.packages),
        Check("gpu", machine.gpu, 60),  # the first import of torch may read gigabytes
        Check("disk", partial(machine.disk, environment)),
    ]
    others = [
        Check("prefect", partial(servers.prefect, environment), 30),
        Check("mlflow", partial(servers.mlflow, environment)),
        Check("s3", partial(store.store, environment, prefix), 30),
        Check("clock", partial(transport.clock, environment)),
        Check("certificates", partial(transport.certificates, environment)),
    ]
    return run_checks(others if only_servers else own + others)


def report(findings: Sequence[Finding], as_json: bool) -> bool:
    """Print findings, and return whether nothing failed."""
    from tinystyle.commands.doctor.findings import healthy

    if as_json:
        screen.print_json(data={"healthy": healthy(findings), "findings": [each.as_dict() for each in findings]})
        return healthy(findings)
    for each in findings:
        screen.print(f"{each.status:8}{each.check}: {each.what}", soft_wrap=True)
        if each.remedy:
            screen.print(f"{'':8}-> {each.remedy}", soft_wrap=True)
    counts = {status: sum(each.status == status for each in findings) for status in ("fail", "warn")}
    screen.print(f"{counts['fail']} failed, {counts['warn']} warnings, {len(findings)} findings", soft_wrap=True)
    return healthy(findings)


def doctor(
    prefix: Annotated[str, typer.Option(help="Prefix of each bucket's name, such as acme-.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is wrong with this machine and the servers that it uses.

    Checks versions, GPU, disk, and the servers that the environment names, and says what to do about each fault.

    Exits with code 1 if anything that is configured does not work. What is not configured is skipped. Changes nothing,
    except for one object of a kilobyte that is written to the bucket of checkpoints and removed again.
    """
    if not report(diagnose(os.environ, prefix), as_json):
        raise typer.Exit(FAILED)
