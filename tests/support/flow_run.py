"""Follows one flow run of a stack from outside: its state, its MLflow run, its processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from infra.processes import descendants
from tests.support.processes import command_lines
from tests.support.rest import MLflow, Prefect
from tests.support.stack import Stack

__all__ = ["FINAL", "FlowRun", "processes_of_runs"]

FINAL = ("COMPLETED", "FAILED", "CANCELLED")
"""Types of the states that a run does not leave."""
_MODULES = {
    "agent": "tinystyle.training.agent",
    "trainer": "tinystyle.training.worker",
    "flow": "prefect.engine",
}
"""What stands on the command lines; a process is of the first kind that does, since an agent names its trainer."""


def processes_of_runs(stack: Stack, run: str | None = None) -> dict[str, list[psutil.Process]]:
    """The processes of the flow run `run` (of all runs, if None): `flow`, `agent`, `trainer`."""
    found: dict[str, list[psutil.Process]] = {kind: [] for kind in ("flow", "agent", "trainer")}
    for process, command in command_lines(descendants(stack.folder)):
        kind = next((kind for kind, module in _MODULES.items() if module in command), None)
        try:
            owner = process.environ().get("PREFECT__FLOW_RUN_ID")
        except psutil.NoSuchProcess:
            continue
        if kind and owner and run in (None, owner):
            found[kind].append(process)
    return found


@dataclass
class FlowRun:
    """A flow run that is under way."""

    stack: Stack
    id: str

    @classmethod
    def start(cls, stack: Stack, deployment: str, **parameters: Any) -> FlowRun:
        """Start a run of FLOW/DEPLOYMENT."""
        prefect = Prefect(stack.environment)
        known = prefect.ask("GET", f"deployments/name/{deployment}")["id"]
        given = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return cls(stack, prefect.ask("POST", f"deployments/{known}/create_flow_run", json=given)["id"])

    def shown(self) -> dict[str, Any]:
        """What Prefect knows of it."""
        found: dict[str, Any] = Prefect(self.stack.environment).ask("GET", f"flow_runs/{self.id}")
        return found

    def state(self) -> dict[str, Any]:
        """Its state: type, name, message."""
        found: dict[str, Any] = self.shown()["state"]
        return found

    def tracked(self) -> list[dict[str, Any]]:
        """Its MLflow runs."""
        return MLflow(self.stack.environment).search(f"tags.`prefect.flow_run` = '{self.id}'")

    def steps(self) -> list[int]:
        """The steps that it has logged, in this order."""
        runs = self.tracked()
        return MLflow(self.stack.environment).steps(runs[0]["info"]["run_id"], "train/total") if runs else []

    def wait(self, until: Callable[[], object], seconds: float) -> None:
        """Wait for something that comes before its end."""
        deadline = time.monotonic() + seconds
        while not until():
            state = self.state()
            assert state["type"] not in FINAL, state
            assert time.monotonic() < deadline, state
            time.sleep(0.5)

    def wait_for_step(self, step: int, seconds: float = 240) -> None:
        """Wait until it has logged that step."""
        self.wait(lambda: step <= max(self.steps(), default=0), seconds)

    def ended(self, seconds: float = 400) -> dict[str, Any]:
        """Its final state."""
        deadline = time.monotonic() + seconds
        while (state := self.state())["type"] not in FINAL:
            assert time.monotonic() < deadline, state
            time.sleep(1)
        return state

    def cancel(self) -> None:
        """Cancel it, if it is still under way."""
        if self.state()["type"] not in FINAL:
            cancelling = {"state": {"type": "CANCELLING"}}
            Prefect(self.stack.environment).ask("POST", f"flow_runs/{self.id}/set_state", json=cancelling)

    def processes(self, what: str) -> list[psutil.Process]:
        """Its processes: `trainer`, `agent` or `flow`; or those of the `worker` that has it."""
        found = processes_of_runs(self.stack, self.id)
        if what != "worker":
            return found[what]
        return descendants(self.stack.folder, found["flow"][0].environ()["TINYSTYLE_SERVER"])
