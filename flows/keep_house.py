"""The flow `keep-house`: removes what is no longer needed, or lists what it would remove."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.faults import FLOW_ERRORS, NETWORK, failed
from flows.notifications import ON_FAILURE
from flows.outside import admit
from flows.retention import (
    NothingPublishedError,
    Removal,
    Retention,
    old_checkpoints,
    superseded_versions,
    unused_datasets,
)
from tinystyle.errors import USER_ERRORS, sentence
from tinystyle.release.publishing import DEFAULT_ROOT

__all__ = ["keep_house"]

STACK = "TINYSTYLE_STACK"
"""Environment variable of the stack's workers with the folder of the stack."""
SHOWN = 300
"""Maximum number of rows of the report; the return value has all."""
_ENDED_WELL, _ENDED_BADLY = (StateType.COMPLETED, StateType.CANCELLED), (StateType.FAILED, StateType.CRASHED)
_PAGE = 200


@flow(name="keep-house", **ON_FAILURE)
def keep_house(
    dry_run: bool = True,
    checkpoints: str = "s3://checkpoints",
    root: str = DEFAULT_ROOT,
    checkpoint_days: int = Retention.checkpoints,
    version_days: int = Retention.versions,
    cache_days: int = Retention.caches,
    run_days: int = 30,
    failed_run_days: int = 90,
) -> dict[str, Any]:
    """Remove old checkpoints, superseded versions, unused datasets and old flow runs, and rotate the stack's logs.

    Nothing that is published, or is or was a champion, is ever removed, nor the newest version of a style, nor the
    checkpoints of a run that is not registered. The report lists everything; a dry run lists what a real one would
    remove.

    Args:
        dry_run: Only list what would be removed.
        checkpoints: Folder or URI under which the runs keep their checkpoints.
        root: Location that models are published to; without an index there, versions and checkpoints are kept.
        checkpoint_days: Days after which the checkpoints of a registered run are removed.
        version_days: Days after which a superseded version is removed; its MLflow run goes to the trash.
        cache_days: Days after which a dataset that is not used is removed from the cache of the machine of this run.
        run_days: Days after which completed and cancelled flow runs and their logs are removed.
        failed_run_days: Days after which failed and crashed flow runs and their logs are removed.
    """
    try:
        admit({}, {"checkpoints": checkpoints, "root": root})
    except FLOW_ERRORS as error:
        return failed(error)  # type: ignore[return-value]
    days = {"checkpoint_days": checkpoint_days, "version_days": version_days, "cache_days": cache_days}
    days |= {"run_days": run_days, "failed_run_days": failed_run_days}
    for name, value in days.items():
        if value < 1:
            return Failed(message=f"{name} {value}: give at least one day")  # type: ignore[return-value]
    now = _now()
    parts: dict[str, Callable[[], list[Removal]]] = {
        # Checkpoints first: whether a run is registered is known by its version.
        "checkpoints": partial(old_checkpoints, checkpoints, root, checkpoint_days, now),
        "versions": partial(superseded_versions, root, version_days, now),
        "datasets": partial(unused_datasets, cache_days, now),
        "flow runs": partial(_old_runs, run_days, failed_run_days, now),
        "logs": _large_logs,
    }
    planned: dict[str, list[Removal]] = {}
    faults: list[str] = []
    kept: list[str] = []
    for name, find in parts.items():  # all are listed before anything is removed
        try:
            planned[name] = plan.with_options(task_run_name=f"list {name}")(find)
        except NothingPublishedError as error:
            kept.append(f"all {name}, since {error}")
        except USER_ERRORS as error:
            faults.append(f"{name}: {sentence(error) or error}")
    removals = [each for part in planned.values() for each in part]
    if not dry_run:
        removals, stuck = clear(removals)
        faults += stuck
    return _state(removals, kept, faults, dry_run)  # type: ignore[no-any-return]


@task(name="list", **NETWORK)
def plan(find: Callable[[], list[Removal]]) -> list[Removal]:
    """List what may be removed."""
    return find()


@task(name="remove", cache_policy=NETWORK["cache_policy"])
def clear(removals: Sequence[Removal]) -> tuple[list[Removal], list[str]]:
    """Remove everything, and return what is gone, and the faults; one fault does not affect the others."""
    gone, faults = [], []
    for removal in removals:
        try:
            if removal.remove():
                gone.append(removal)
        except USER_ERRORS as error:
            faults.append(f"{removal.kind} {removal.name}: {sentence(error) or error}")
    return gone, faults


def _now() -> datetime:
    """Return the earlier of the times by this machine's clock and Prefect's server's: a fast one removes nothing early."""
    here = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        date = client.request("GET", "/health").headers.get("date", "")
    try:
        return min(here, parsedate_to_datetime(date).astimezone(UTC))
    except ValueError:  # a proxy that leaves it out
        return here


def _old_runs(run_days: int, failed_run_days: int, now: datetime) -> list[Removal]:
    chosen = ((_ENDED_WELL, now - timedelta(days=run_days)), (_ENDED_BADLY, now - timedelta(days=failed_run_days)))
    return [
        Removal(
            "flow run",
            run.name,
            f"{run.state_name}, ended {run.end_time:%Y-%m-%d}; {run.id}",
            0,
            partial(_remove_run, run),
        )
        for states, before in chosen
        for run in _runs(states, before)
    ]


def _runs(states: Sequence[StateType], before: datetime) -> list[FlowRun]:
    wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": list(states)}}, "end_time": {"before_": before}})
    found: list[FlowRun] = []
    with get_client(sync_client=True) as client:
        while page := client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=len(found)):
            found += page
    return found


def _remove_run(run: FlowRun) -> bool:
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        client.delete_flow_run(run.id)  # its logs go with it
    return True


def _large_logs() -> list[Removal]:
    from infra.logs import oversized

    folder = os.environ.get(STACK)
    if not folder:
        return []
    return [
        Removal("log", str(path), "is compressed and begun anew", path.stat().st_size, partial(_rotate, path))
        for path in oversized(Path(folder) / "log")
    ]


def _rotate(log: Path) -> bool:
    from infra.logs import rotate

    rotate(log)
    return True


def _state(removals: Sequence[Removal], kept: Sequence[str], faults: Sequence[str], dry_run: bool) -> Any:
    """Create the report, and return the final state of the flow run."""
    size = sum(removal.bytes for removal in removals)
    kinds = sorted({removal.kind for removal in removals})
    counts = ", ".join(f"{sum(each.kind == kind for each in removals)} {kind}" for kind in kinds)
    message = f"{'would remove' if dry_run else 'removed'} {counts or 'nothing'}, {size / 1e6:,.1f} MB"
    if kept:
        message += f"; keeps {', '.join(kept)}"
    if faults:
        message += f"; failed: {'; '.join(faults)}"
    create_markdown_artifact(markdown(message, removals), key="keep-house", description=message[:200])
    get_run_logger().info(message)
    rows = [{"kind": each.kind, "name": each.name, "why": each.why, "bytes": each.bytes} for each in removals]
    data = {"dry_run": dry_run, "removals": rows, "faults": list(faults)}
    return Failed(message=message) if faults else Completed(message=message, data=data)


def markdown(message: str, removals: Sequence[Removal]) -> str:
    """Return the report in Markdown."""
    lines = ["# Keeping house", "", message, "", "| what | name | bytes | why |", "|---|---|---:|---|"]
    for each in removals[:SHOWN]:
        lines.append(f"| {each.kind} | {each.name} | {f'{each.bytes:,}' if each.bytes else ''} | {each.why} |")
    if len(removals) > SHOWN:
        lines += ["", f"and {len(removals) - SHOWN} more"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(json.dumps(keep_house(), indent=2))
