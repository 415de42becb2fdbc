"""Messages to the operator really arrive, and no message that fails fails a flow."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.webhook import Webhook
from prefect.variables import Variable

from flows.ingest_coco import ingest_coco
from flows.notifications import ENVIRONMENT, VARIABLE, notify
from flows.publish import publish
from tests.support.flows import QUIET
from tests.support.receiver import Receiver, running_receiver

pytestmark = [*QUIET, pytest.mark.usefixtures("platform"), pytest.mark.platform]
SECRET = "hooks/T0123SECRET"


@pytest.fixture(scope="module")
def receiver(platform: Any) -> Iterator[Receiver]:  # noqa: ARG001 - whose server keeps the blocks
    with running_receiver() as running:
        address = f"{running.address}/{SECRET}"
        Webhook(url=address).save("operator", overwrite=True)
        json_data = {"text": "{{subject}}: {{body}}"}
        CustomWebhookNotificationBlock(name="chat", url=address, json_data=json_data).save("chat", overwrite=True)
        yield running


@pytest.fixture(autouse=True)
def _ready(receiver: Receiver) -> None:
    receiver.bodies.clear()
    receiver.status = 200


def fail() -> Any:
    return publish(style="unheard-of", return_state=True)


def test_a_failed_run_is_told_to_the_block_of_the_variable(receiver: Receiver) -> None:
    fail()
    assert not receiver.bodies, "nobody asked for messages"
    Variable.set(VARIABLE, "webhook/operator", overwrite=True)
    try:
        state = fail()
    finally:
        Variable.unset(VARIABLE)
    (body,) = map(json.loads, receiver.bodies)
    assert state.is_failed()
    assert (body["event"], body["flow"], body["state"]) == ("failure", "publish", "Failed")
    assert body["subject"] == "publish unheard-of champion: failed"
    assert body["body"].startswith(state.message)
    assert body["flow_run"] == str(state.state_details.flow_run_id)


def test_a_notification_block_and_a_flow_of_coroutines(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "custom-webhook/chat")
    fail()
    state: Any = asyncio.run(ingest_coco("nowhere", "dataset", spread=False, return_state=True))
    assert state.is_failed()
    published, ingested = (json.loads(body)["text"] for body in receiver.bodies)
    assert published.startswith("publish unheard-of champion: failed: no style unheard-of is registered")
    assert ingested.startswith("ingest-coco nowhere to dataset: failed: nowhere")


@pytest.mark.parametrize(
    ("block", "status", "reason"),
    [
        ("webhook/operator", 500, "the receiver answers with status 500"),
        ("custom-webhook/chat", 403, "the receiver answers with status 403"),
        ("webhook/nobody", 200, "Prefect has no block webhook/nobody; give TYPE/NAME"),
        ("operator", 200, "Prefect has no block operator; give TYPE/NAME"),
        ("webhook/gone", 200, "ConnectError"),
    ],
)
def test_a_message_that_fails_fails_nothing(
    block: str, status: int, reason: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    if block == "webhook/gone":
        Webhook(url=f"http://127.0.0.1:1/{SECRET}").save("gone", overwrite=True)
    monkeypatch.setenv(ENVIRONMENT, block)
    receiver.status = status
    with caplog.at_level(logging.WARNING, "flows.notifications"):
        state = fail()
    assert state.is_failed()
    assert state.message.startswith("no style unheard-of is registered")
    (warning,) = (record.getMessage() for record in caplog.records if record.name == "flows.notifications")
    assert reason in warning
    assert SECRET not in caplog.text, "the address of a webhook is a secret"


def test_whether_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notify("nobody", "listens") is False
    monkeypatch.setenv(ENVIRONMENT, "webhook/operator")
    assert notify("somebody", "listens") is True
