"""Errors in flows: which ones are retried, and how a user error ends a flow run with one sentence."""

from __future__ import annotations

import logging
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.states import Crashed, Failed

from tinystyle.errors import debugging, is_temporary, sentence

__all__ = ["NETWORK", "failed", "may_pass"]


def may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Return whether Prefect should retry: True for network or store errors, False for a user's mistake."""
    return is_temporary(state.data)


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
    longer than the tasks retry has crashed the run of a deployment, which the stack's keeper then starts again.

    Raises:
        Exception: `error`, if it is a bug, so that the run crashes with its traceback.
    """
    from prefect.logging import get_run_logger
    from prefect.runtime import deployment

    text = sentence(error)
    if text is None:
        raise error
    get_run_logger().error(text, exc_info=error if debugging() else None)
    return Crashed(message=text) if is_temporary(error) and deployment.id else Failed(message=text)


class _StateSaysIt(logging.Filter):
    """Suppresses the traceback through Prefect's own code for a run that ended in one of our states."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (FailedRun, CrashedRun, CancelledRun))


for _name in ("prefect.flow_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(_StateSaysIt())
