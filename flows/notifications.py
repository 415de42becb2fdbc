"""Messages to the operator: failed runs, decisions of the gates, published styles. A message never fails a flow.

The operator stores a block in Prefect, a Webhook or any notification block (Slack, Teams, e-mail, Custom Webhook), and
names it, as TYPE/NAME, in the Prefect variable `tinystyle_notify`, or in TINYSTYLE_NOTIFY in the environment of a
worker. Without either, nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, cast

import prefect.blocks.notifications  # noqa: F401 - so that Prefect knows these types of blocks
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.urls import url_for

from tinystyle.errors import UserError

__all__ = ["ENVIRONMENT", "ON_FAILURE", "VARIABLE", "notify"]

VARIABLE, ENVIRONMENT = "tinystyle_notify", "TINYSTYLE_NOTIFY"
_LOG = logging.getLogger(__name__)
_SECONDS = 15.0


def notify(subject: str, body: str, **facts: str | int | None) -> bool:
    """Send a message, if the operator wants messages; log a warning if that fails, and return whether it was sent.

    A notification block gets `subject` and `body`; a Webhook block gets JSON with both, and with `facts`.
    """
    try:
        return bool(run_coro_as_sync(_send(subject, body, facts)))
    except Exception as error:  # whatever a block of somebody else's raises
        _LOG.warning("no message was sent about %r: %s", subject, _reason(error))
        return False


async def _send(subject: str, body: str, facts: dict[str, str | int | None]) -> bool:
    async with asyncio.timeout(_SECONDS):
        async with get_client() as client:
            name = os.environ.get(ENVIRONMENT)
            if not name:
                variable = await client.read_variable_by_name(VARIABLE)
                name = str(variable.value) if variable else ""
            if not name:
                return False
            try:
                block = await cast("Any", Block).aload(name, client=client)
            except ValueError as error:
                raise UserError(f"Prefect has no block {name}; give TYPE/NAME, such as webhook/operator") from error
        if isinstance(block, Webhook):
            answer = await block.call({"subject": subject, "body": body, **facts})
            answer.raise_for_status()
        elif isinstance(block, NotificationBlock):
            await cast("Any", block).anotify(body=body, subject=subject)
        else:
            raise UserError(f"{name} is no Webhook and no notification block")
    return True


def _reason(error: Exception) -> str:
    """Describe an error without the address of a webhook, which is often a secret."""
    if isinstance(error, UserError):
        return str(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"the receiver answers with status {status}" if status else type(error).__name__


def _failed(flow: Any, run: FlowRun, state: State[Any]) -> None:
    """Tell the operator that a flow run failed or crashed."""
    subject = f"{flow.name} {run.name}: {(state.name or 'failed').lower()}"
    body = "\n".join(filter(None, (state.message, _address(run))))
    notify(subject, body, event="failure", flow=flow.name, flow_run=str(run.id), state=state.name)


def _address(run: FlowRun) -> str:
    return url_for(run) or ""


ON_FAILURE: dict[str, Any] = {"on_failure": [_failed], "on_crashed": [_failed]}
"""Options of every flow whose failure the operator wants to know of."""
