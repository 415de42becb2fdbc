"""The keeper's recovery, on Prefect's server: a machine whose clock is wrong or is set has no dead runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import prefect.settings
import pytest

from infra import recovery as module
from infra.recovery import SILENT_SECONDS, Recovery
from tests.support.flows import QUIET, Platform
from tests.support.rest import ask

pytestmark = [*QUIET, pytest.mark.platform]
HEARTBEAT = "prefect.flow-run.heartbeat"
ALWAYS = {"since": "1970-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}


class Run:
    """A flow run of a deployment, in the state RUNNING, that this test plays."""

    def __init__(self) -> None:
        self.api = httpx.Client(base_url=str(prefect.settings.PREFECT_API_URL.value()), timeout=60, trust_env=False)
        flow = self.ask("POST", "/flows/", {"name": f"flow-{uuid4()}"})
        made = self.ask("POST", "/deployments/", {"name": "played", "flow_id": flow["id"]})
        self.id = self.ask("POST", f"/deployments/{made['id']}/create_flow_run", {})["id"]
        self.ask("POST", f"/flow_runs/{self.id}/set_state", {"state": {"type": "RUNNING"}, "force": True})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return ask(self.api, method, path, json=body).json()

    @property
    def state(self) -> str:
        return str(self.ask("GET", f"/flow_runs/{self.id}")["state_type"])

    def beat(self, clock: timedelta) -> None:
        """Give a sign of life by a clock that is so wrong."""
        event = {
            "id": str(uuid4()),
            "event": HEARTBEAT,
            "occurred": (datetime.now(UTC) + clock).isoformat(),
            "resource": {"prefect.resource.id": f"prefect.flow-run.{self.id}"},
        }
        ask(self.api, "POST", "/events", json=[event])

    def wait_for_beats(self, number: int) -> None:
        """Return once the server has so many."""
        wanted = {"resource": {"id": [f"prefect.flow-run.{self.id}"]}, "occurred": ALWAYS}
        wanted["event"] = {"name": [HEARTBEAT]}
        deadline = time.monotonic() + 60
        while self.ask("POST", "/events/filter", {"filter": wanted, "limit": 1})["total"] < number:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.fixture
def runs(platform: Platform) -> Iterator[list[Run]]:  # noqa: ARG001
    """Two of them."""
    made = [Run(), Run()]
    yield made
    for run in made:
        run.api.close()


def test_a_clock_that_is_set_ends_no_run(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    address = str(prefect.settings.PREFECT_API_URL.value())
    recovery = Recovery({"PREFECT_API_URL": address, "PREFECT_API_AUTH_STRING": "any:body"})
    for number in (1, 2, 3):
        for run, hours in zip(runs, (1, -1), strict=True):
            run.beat(timedelta(hours=hours if number > 1 else 0))
        for run in runs:
            run.wait_for_beats(number)
        recovery.look()
        assert [run.state for run in runs] == ["RUNNING"] * 2, f"after {number} signs of life"
        clock[0] += 0.9 * SILENT_SECONDS
    clock[0] += 0.2 * SILENT_SECONDS
    recovery.look()
    assert [run.state for run in runs] == ["CRASHED"] * 2, "silence is still heard"
