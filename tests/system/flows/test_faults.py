"""What a flow needs of Prefect's server and does not get: the run crashes, so that the keeper starts it again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Failed

from flows.accelerator import hold_gpus
from flows.faults import FLOW_ERRORS, failed, may_pass
from tests.support.flows import QUIET

pytestmark = [*QUIET, pytest.mark.platform, pytest.mark.usefixtures("platform")]


@pytest.fixture(autouse=True)
def _another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's service for slots keeps an address for as long as this process lives, by the names of the limits."""
    monkeypatch.setattr("flows.accelerator.socket", SimpleNamespace(gethostname=lambda: f"machine-{uuid4()}"))


def _gpus() -> None:
    with hold_gpus(1, ["GPU-of-nobody"], logging.getLogger(__name__)):
        raise AssertionError("held a GPU without a server")


def _slots() -> None:
    with concurrency(["of-nobody"], strict=True):
        raise AssertionError("held a slot without a server")


@flow(name="lost")
def lost(ask: Callable[[], None], address: str) -> Any:
    """Ask a server that is not there, as a flow does."""
    try:
        with temporary_settings({PREFECT_API_URL: address, PREFECT_CLIENT_MAX_RETRIES: 0}):
            ask()
    except FLOW_ERRORS as error:
        return failed(error)


def _ended(ask: Callable[[], None], port: int) -> State[Any]:
    return lost(ask, f"http://127.0.0.1:{port}/api", return_state=True)


@pytest.mark.parametrize("ask", [_gpus, _slots])
def test_a_server_that_is_away_crashes_the_run_of_a_deployment(
    ask: Callable[[], None], free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "f2b0ae2b-6ad3-4cb6-8c05-5b2b0cdb2e4a")
    state = _ended(ask, free_port)
    assert state.is_crashed()
    assert (state.message or "").startswith("Prefect's server does not answer: ")


def test_a_run_by_hand_has_failed(free_port: int) -> None:
    assert _ended(_gpus, free_port).is_failed()


def test_a_limit_that_is_missing_is_a_bug() -> None:
    error = ConcurrencySlotAcquisitionError("Concurrency limits ['of-nobody'] must be created before acquiring slots")
    assert not may_pass(None, None, Failed(data=error))


@pytest.mark.parametrize(("status", "again"), [(500, True), (503, True), (429, True), (404, False), (409, False)])
def test_which_answers_are_tried_again(status: int, again: bool) -> None:
    request = httpx.Request("GET", "http://prefect/api")
    error = httpx.HTTPStatusError("an answer", request=request, response=httpx.Response(status, request=request))
    assert may_pass(None, None, Failed(data=error)) is again
