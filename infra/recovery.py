"""Finds flow runs that have died and starts them again on any worker, from their last checkpoint, at most twice.

A process that is killed alone is reported by its worker, as Crashed. One that is lost together with its worker is not
reported by anybody: its heartbeats stop. Prefect's own retries apply to neither, and an automation that retries would
race with the report of a worker that still lives; hence one place that decides, by Prefect's REST API alone.

No clocks are compared: how long a run has been silent is measured by this process, as time without another heartbeat.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx

from infra.tracked_runs import close_abandoned
from infra.work_pool import prefect_api

__all__ = ["ATTEMPTS", "FLOW_ENVIRONMENT", "HEARTBEAT_SECONDS", "Recovery"]

_LOG = logging.getLogger(__name__)

ATTEMPTS = 3
"""Times that a run may crash; the last time, it has failed."""
HEARTBEAT_SECONDS = 30
"""Interval between a flow run's signs of life; Prefect's minimum."""
FLOW_ENVIRONMENT = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    # What the library logs, such as a shard that was damaged, is shown with the flow run.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "tinystyle",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
"""Environment variables of processes that run flows. infra/kubernetes/base/kustomization.yaml has them too."""
SILENT_SECONDS = 2.5 * HEARTBEAT_SECONDS
"""Time without a sign of life after which a run counts as lost."""
START_SECONDS = 180.0
"""Time that a worker may take from accepting a run to starting it."""
GRACE_SECONDS = 10.0, 30.0
"""Time from the first and the second crash to the next attempt. What is left of the old process may still report its own
end, and a server that was away may come back."""
TRACKED_EVERY_SECONDS = 120.0
"""Interval between searches for MLflow runs that nobody continues."""
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ALWAYS = {"since": "1970-01-01T00:00:00Z", "until": "9999-01-01T00:00:00Z"}
"""Of events. By default the server leaves out those that are younger than its own clock."""
_PAGE = 200


@dataclass
class _Seen:
    """When something about a run was first seen, by this process's clock."""

    what: str
    since: float = field(default_factory=monotonic)

    def unchanged(self, what: str) -> float:
        """Return for how many seconds `what` has been the same."""
        if what != self.what:
            self.what, self.since = what, monotonic()
        return monotonic() - self.since


class Recovery:
    """Watches all flow runs of a Prefect server that have a deployment.

    Args:
        environment: PREFECT_API_URL, PREFECT_API_AUTH_STRING, and MLflow's address and credentials.
        say: called with one line for everything that was done.
    """

    def __init__(self, environment: Mapping[str, str], say: Callable[[str], None] = _LOG.info) -> None:
        self._environment = environment
        self._say = say
        self._seen: dict[str, _Seen] = {}
        self._tracked_at = monotonic()

    def look(self) -> None:
        """Look once at all runs that are not over, and do what has to be done.

        Raises:
            httpx.TransportError: Prefect's server does not answer. What is known of silent runs is then forgotten,
                since their signs of life did not arrive either.
            httpx.HTTPStatusError: it refuses, or is busy, which it says while another request writes to SQLite.
        """
        try:
            with prefect_api(self._environment) as api:
                runs = _runs(api, ["PENDING", "RUNNING", "CANCELLING", "CRASHED"])
                self._seen = {run["id"]: self._seen.get(run["id"], _Seen("")) for run in runs}
                for run in runs:
                    self._look_at(api, run)
        except httpx.TransportError:
            self._seen.clear()
            raise
        if monotonic() - self._tracked_at > TRACKED_EVERY_SECONDS:
            self._tracked_at = monotonic()
            self.close_tracked()

    def close_tracked(self) -> None:
        """Close MLflow runs that are open though their flow run is over; a server that is away is asked again later."""
        try:
            with prefect_api(self._environment) as api:
                for name in close_abandoned(self._environment, lambda run: _is_over(api, run)):
                    self._say(f"{name}: closed in MLflow, its flow run is over")
        except httpx.HTTPError as error:
            _LOG.warning("MLflow runs were not looked at: %s", error)

    def _look_at(self, api: httpx.Client, run: dict[str, Any]) -> None:
        kind, state_id = run["state_type"], run["state"]["id"]
        unchanged = self._seen[run["id"]].unchanged
        if kind == "CRASHED":
            self._again(api, run, unchanged(state_id))
        elif kind == "PENDING":
            if unchanged(state_id) >= START_SECONDS:
                self._set(api, run, "SCHEDULED", "AwaitingRetry", "its worker accepted it and did not start it")
        elif unchanged(f"{state_id} {_heartbeats(api, run['id'])}") >= SILENT_SECONDS:
            if kind == "CANCELLING":
                self._set(api, run, "CANCELLED", "Cancelled", "cancelled; its process was gone already")
            else:
                why = f"no sign of life for {SILENT_SECONDS:.0f} s: its process or its machine is gone"
                self._set(api, run, "CRASHED", "Crashed", why)

    def _again(self, api: httpx.Client, run: dict[str, Any], seconds: float) -> None:
        if seconds < GRACE_SECONDS[0]:
            return
        states = _answer(api.get("/flow_run_states/", params={"flow_run_id": run["id"]}))
        crashes = sum(state["type"] == "CRASHED" for state in states)
        why = run["state"].get("message") or "no reason given"
        if crashes >= ATTEMPTS:
            self._set(api, run, "FAILED", "Failed", f"gave up after {crashes} crashes; the last one: {why}")
            self.close_tracked()
        elif seconds >= GRACE_SECONDS[min(crashes, len(GRACE_SECONDS)) - 1]:
            self._set(api, run, "SCHEDULED", "AwaitingRetry", f"attempt {crashes + 1} of {ATTEMPTS}, after: {why}")

    def _set(self, api: httpx.Client, run: dict[str, Any], kind: str, name: str, message: str) -> None:
        state = {"type": kind, "name": name, "message": message}
        # Forced, because Prefect's rules know of no way back from a final state.
        answer = _answer(api.post(f"/flow_runs/{run['id']}/set_state", json={"state": state, "force": True}))
        if answer["status"] in ("ACCEPT", "WAIT"):
            self._say(f"{run['name']} ({run['id']}): {name}, {message}")


def _runs(api: httpx.Client, kinds: list[str]) -> list[dict[str, Any]]:
    """Return the flow runs in these states that a worker runs, and not another flow run in its own process."""
    found: list[dict[str, Any]] = []
    while True:
        page = _answer(
            api.post(
                "/flow_runs/filter",
                json={
                    "flow_runs": {"state": {"type": {"any_": kinds}}, "deployment_id": {"is_null_": False}},
                    "sort": "ID_DESC",
                    "limit": _PAGE,
                    "offset": len(found),
                },
            )
        )
        found += page
        if len(page) < _PAGE:
            return found


def _heartbeats(api: httpx.Client, run: str) -> str:
    """Return something that differs after each sign of life of a flow run.

    Signs of life are ordered by the clock of the run's machine. One whose clock was set back sends signs that are older
    than its last one, so they are counted too; a clock that is fast sends them from the future.
    """
    wanted = {
        "event": {"name": [_HEARTBEAT]},
        "resource": {"id": [f"prefect.flow-run.{run}"]},
        "occurred": _ALWAYS,
        "order": "DESC",
    }
    found = _answer(api.post("/events/filter", json={"filter": wanted, "limit": 1}))
    return " ".join([str(found["total"]), *(str(event["id"]) for event in found["events"])])


def _is_over(api: httpx.Client, run: str) -> bool:
    answer = api.get(f"/flow_runs/{run}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return True
    return _answer(answer)["state_type"] in ("COMPLETED", "FAILED", "CANCELLED")


def _answer(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()
