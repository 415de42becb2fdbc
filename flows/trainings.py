"""Runs train-style for many networks, on the work pool or in this process; the failure of one is no affair of the others."""

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
    """How one train-style run ended."""

    parameters: dict[str, Any]
    state: str
    """The state's name, as Prefect's UI shows it."""
    message: str
    version: ModelVersion | None
    """What it registered, or found registered; None if it failed."""
    skipped: bool = False
    """Whether it was registered before."""


def run_trainings(parameters: Sequence[dict[str, Any]], *, spread: bool) -> list[Outcome]:
    """One train-style run for each set of parameters, in their order; ends when all have ended.

    Args:
        parameters: of train-style.
        spread: as runs of the deployment `train-style/default`, all at once, on whichever workers there are; else one
            after the other in this process.

    Raises:
        ValueError: there is no such deployment.
    """
    return _on_the_pool(parameters) if spread else [_here(chosen) for chosen in parameters]


def _here(parameters: dict[str, Any]) -> Outcome:
    state = cast("State[Any]", train_style(**parameters, return_state=True))
    if state.is_crashed() or state.is_cancelled():  # this process was asked to end
        raise TerminationSignal(signal.SIGTERM)
    result = state.result() if state.is_completed() else None
    return _outcome(parameters, state, result)


def _on_the_pool(parameters: Sequence[dict[str, Any]]) -> list[Outcome]:
    runs: list[UUID] = []
    ended: dict[UUID, State[Any]] = {}
    try:
        for index, chosen in enumerate(parameters):
            # When this flow run is tried again, its children are new ones, and skip what is registered.
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
    except BaseException:  # whatever ends this flow ends the trainings that it began
        _cancel(run for run in runs if run not in ended)
        raise


def _look(client: SyncPrefectClient, runs: Sequence[UUID], ended: dict[UUID, State[Any]]) -> None:
    for run in runs:
        state = client.read_flow_run(run).state if run not in ended else None
        if state and state.is_final():
            ended[run] = state
            get_run_logger().info("%d of %d ended: %s, %s", len(ended), len(runs), state.name, state.message)


def _result(client: SyncPrefectClient, run: UUID) -> dict[str, Any] | None:
    """What a train-style run on some machine returned: results proper stay on the machine that made them."""
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
            with suppress(Exception):  # the others are to be told all the same
                client.set_flow_run_state(run, Cancelling(message="the flow run that began it has ended"))
