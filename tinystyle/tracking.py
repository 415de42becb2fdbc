"""MLflow: one run per training run, resumed with it. Tracking never stops a training run: at the first fault it falls silent.

Where it logs to is MLflow's own business: MLFLOW_TRACKING_URI, by default a SQLite file in the current folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Tracker", "flatten"]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


class Tracker:
    """One MLflow run.

    Args:
        experiment: name of the experiment; made if absent.
        run_name: what the UI calls the run.
        run_id: an earlier run to go on with; None starts one.
        parameters: logged once.
        tags: logged once.
    """

    def __init__(
        self, experiment: str, run_name: str, run_id: str | None, parameters: dict[str, Any], tags: dict[str, str]
    ) -> None:
        # A server that does not answer must not hold up a GPU for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self.run_id: str | None = None
        self._client: Any = None
        self._quietly(lambda: self._start(experiment, run_name, run_id, parameters, tags))

    def _start(
        self, experiment: str, run_name: str, run_id: str | None, parameters: dict[str, Any], tags: dict[str, str]
    ) -> None:
        import logging

        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException

        client = MlflowClient()
        if run_id is not None:
            try:
                client.update_run(run_id, status="RUNNING")
            except MlflowException:
                run_id = None  # another server than the interrupted run had
        if run_id is None:
            found = client.get_experiment_by_name(experiment)
            experiment_id = found.experiment_id if found else client.create_experiment(experiment)
            run_id = client.create_run(experiment_id, run_name=run_name).info.run_id
            client.log_batch(
                run_id,
                params=[Param(name, str(value)) for name, value in parameters.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )
        self._client, self.run_id = client, run_id

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Log values of a step."""
        if self._client is None:
            return
        from time import time

        from mlflow.entities import Metric

        now = int(time() * 1000)
        batch = [Metric(name, value, now, step) for name, value in values.items()]
        self._quietly(lambda: self._client.log_batch(self.run_id, metrics=batch))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload a file."""
        if self._client is not None:
            self._quietly(lambda: self._client.log_artifact(self.run_id, str(path), folder))

    def finish(self, status: str) -> None:
        """Close the run: FINISHED, FAILED or KILLED (stopped, to be resumed)."""
        if self._client is not None:
            self._quietly(lambda: self._client.set_terminated(self.run_id, status))

    def _quietly(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            self._client = None
            print(f"MLflow does not answer, the run goes on without it: {str(error).splitlines()[0]}", file=sys.stderr)
