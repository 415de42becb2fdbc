"""Runs train-style for many networks, on the work pool or in this process; a failed run does not affect the others."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, TerminationSignal
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelling

from flows.results import RESULT
from flows.train_style import train_style
from tinystyle.errors import UserError
from tinystyle.tracking.registry import ModelVersion

__all__ = ["DEPLOYMENT", "Outcome", "run_trainings"]

DEPLOYMENT = "train-style/default"
POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """The outcome of one train-style run."""

    parameters: dict[str, Any]
    state: str
    """Name of the final state, as shown in Prefect's UI."""
    message: str
    version: ModelVersion | None
    """Version that this run or an earlier one registered; None if the run failed."""
    skipped: bool = False
    """Whether the version was registered before."""


def run_trainings(parameters: Sequence[dict[str, Any]], *, spread: bool) -> list[Outcome]:
    """Run train-style once per set of parameters, wait for all runs, and return their outcomes in order.

    Args:
        parameters: parameters of each run of train-style.
        spread: True starts runs of the deployment `train-style/default`, all at once, on any available workers; False
            runs them one after the other in this process.

    Raises:
        UserError: the deployment does not exist.
    """
    return _on_the_pool(parameters) if spread else [_here(chosen) for chosen in parameters]


def _here(parameters: dict[str, Any]) -> Outcome:
    state = cast("State[Any]", train_style(**parameters, return_state=True))
    if state.is_crashed() or state.is_cancelled():  # this process was asked to stop
        raise TerminationSignal(signal.SIGTERM)
    result = state.result() if state.is_completed() else None
    return _outcome(parameters, state, result)


def _on_the_pool(parameters: Sequence[dict[str, Any]]) -> list[Outcome]:
    runs: list[UUID] = []
    ended: dict[UUID, State[Any]] = {}
    try:
        for index, chosen in enumerate(parameters):
            # A retry of this flow run starts new child runs, which skip networks that are already registered.
            key = f"{flow_run.id}-{flow_run.run_count}-{index}"
            run: Any = run_deployment(DEPLOYMENT, parameters=chosen, timeout=0, idempotency_key=key)
            runs.append(run.id)
        with get_client(sync_client=True) as client:
            while len(ended) < len(runs):
                time.sleep(POLL_SECONDS)
                _look(client, runs, ended)
            return [
                _outcome(chosen, ended[run], _result(client, run)) for chosen, run in zip(parameters, runs, strict=True)
            ]
    except ObjectNotFound as error:
        raise UserError(f"there is no deployment {DEPLOYMENT}; make it with `make deploy`") from error
    except BaseException:  # any exception here also stops the training runs
        _cancel(run for run in runs if run not in ended)
        raise


def _look(client: SyncPrefectClient, runs: Sequence[UUID], ended: dict[UUID, State[Any]]) -> None:
    for run in runs:
        state = client.read_flow_run(run).state if run not in ended else None
        if state and state.is_final():
            ended[run] = state
            get_run_logger().info("%d of %d ended: %s, %s", len(ended), len(runs), state.name, state.message)


def _result(client: SyncPrefectClient, run: UUID) -> dict[str, Any] | None:
    """Return the result of a train-style run from its artifact; Prefect's own results stay on their machine."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=[RESULT])
        )
    )
    if not found:
        return None
    data = found[-1].data
    rows: list[dict[str, Any]] = json.loads(data) if isinstance(data, str) else data  # type: ignore[assignment]
    return rows[0]


def _outcome(parameters: dict[str, Any], state: State[Any], result: dict[str, Any] | None) -> Outcome:
    from tinystyle.tracking import registry

    if not (state.is_completed() and result):
        return Outcome(parameters, state.name or "Failed", state.message or "", None)
    version = registry.find(result["style"], result["version"])
    return Outcome(parameters, state.name or "Completed", state.message or "", version, result["skipped"])


def _cancel(runs: Any) -> None:
    with get_client(sync_client=True) as client:
        for run in runs:
            with suppress(Exception):  # still cancel the others
                client.set_flow_run_state(run, Cancelling(message="the flow run that began it has ended"))
