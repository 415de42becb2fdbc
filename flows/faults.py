"""What goes wrong in flows: what is tried again, and the one sentence that a flow run ends with."""

from __future__ import annotations

import logging
import re
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.states import Failed
from pydantic import ValidationError

from tinystyle.catalogue import complaint

__all__ = ["NETWORK", "failed", "may_pass", "sentence"]

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def may_pass(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Prefect's retry condition: a fault of network or store, not a mistake of the user."""
    return isinstance(state.data, OSError) and not isinstance(state.data, _FINAL)


NETWORK: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 10, 30],
    "retry_condition_fn": may_pass,
    "cache_policy": NO_CACHE,
}
"""Options of every task that speaks to a server or a store."""


def sentence(error: Exception) -> str:
    """An error in one sentence, in terms of a flow's parameters."""
    if isinstance(error, ValidationError):
        text = complaint(error)
    elif isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    else:
        text = str(error) or type(error).__name__
    # The library speaks of the command line's options.
    text = re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda option: option[1].replace("-", "_"), text)
    return " ".join(text.split())


def failed(error: Exception) -> State[Any]:
    """The state of a flow run that `error` ended: the sentence alone, where Prefect's own would wrap it."""
    from prefect.logging import get_run_logger

    get_run_logger().error(sentence(error))
    return Failed(message=sentence(error))


class _StateSaysIt(logging.Filter):
    """Leaves out the traceback, through Prefect's own code, of a run that ended in a state of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (FailedRun, CrashedRun, CancelledRun))


for _name in ("prefect.flow_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(_StateSaysIt())
