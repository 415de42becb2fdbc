"""Errors in flows: which ones are retried, and how a user error ends a flow run with one sentence."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import httpx
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.states import Crashed, Failed

from tinystyle.errors import USER_ERRORS, debugging, is_temporary, sentence

__all__ = ["FLOW_ERRORS", "NETWORK", "failed", "may_pass"]

FLOW_ERRORS = (*USER_ERRORS, httpx.HTTPError, ConcurrencySlotAcquisitionError)
"""Exception types to catch for `failed`: users' errors, and those of a request to Prefect's server."""


def may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Return whether Prefect should retry: True for network or store errors, False for a user's mistake."""
    return is_temporary(state.data) or _is_prefects(state.data)


def _is_prefects(error: object) -> bool:
    """Return whether Prefect's server, which is perhaps being restarted, did not answer or had an error of its own."""
    if isinstance(error, ConcurrencySlotAcquisitionError):
        return _is_prefects(error.__cause__)
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
    return isinstance(error, httpx.TransportError)


NETWORK: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "retry_condition_fn": may_pass,
    "cache_policy": NO_CACHE,
}
"""Options of every task that accesses a server or a store."""


def failed(error: Exception) -> State[Any]:
    """Return the state of a flow run that an error ended, with its sentence as the complete message.

    A user's mistake has failed; Prefect's own failed state would wrap the sentence. A server or store that was away for
    longer than the tasks retry has crashed the run of a deployment, which the stack's keeper then starts again; so has
    Prefect's own server, whose answer a flow needed.

    Raises:
        Exception: `error`, if it is a bug, so that the run crashes with its traceback.
    """
    from prefect.logging import get_run_logger
    from prefect.runtime import deployment

    prefects = _is_prefects(error)
    text = f"Prefect's server does not answer: {error}" if prefects else sentence(error)
    if text is None:
        raise error
    get_run_logger().error(text, exc_info=error if debugging() else None)
    again = prefects or is_temporary(error)
    return Crashed(message=text) if again and deployment.id else Failed(message=text)


class _StateSaysIt(logging.Filter):
    """Suppresses the traceback through Prefect's own code for a run that ended in one of our states."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (FailedRun, CrashedRun, CancelledRun))


for _name in ("prefect.flow_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(_StateSaysIt())
