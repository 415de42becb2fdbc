"""The MLflow run of a training run, resumed together with it. Errors pause tracking and never stop training.

MLflow's own settings determine where it logs to: MLFLOW_TRACKING_URI, by default a SQLite file in the current folder.
The run of a sweep is a `Tracker` too; its `run_id` is passed to its children, or to their processes as
TINYSTYLE_PARENT_RUN.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

from PIL import Image

from tinystyle.errors import UserError
from tinystyle.tracking.connection import connect, quiet, tracking_uri, user_name
from tinystyle.tracking.system_metrics import SystemMetrics

__all__ = ["PARENT_RUN", "Tracker", "close_run", "complete_run", "flatten", "run_tags"]

_LOG = logging.getLogger(__name__)

PARENT_RUN = "TINYSTYLE_PARENT_RUN"
"""Environment variable with the ID of the MLflow run that is the parent of all runs of this process."""
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 30.0, 480.0
"""Pause after the first error; it doubles with every error, so that a hanging server costs a run only minutes."""
LAST_PAUSES_SECONDS = 5.0, 15.0
"""Pauses before the last attempts at the end of a run, if the server answered before."""
MAX_WAITING = 20_000
"""Maximum number of logged things that wait for the server; beyond it the oldest are lost."""
_Action = Callable[[Any, str], None]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def run_tags(lineage: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a training run: its lineage, and the commit, user and source under MLflow's own names."""
    own = {
        "mlflow.source.name": "tinystyle train",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": lineage.get("commit", "").removesuffix("-dirty"),
        "mlflow.user": user_name(),
    }
    return {f"lineage.{fact}": value for fact, value in lineage.items()} | {
        name: value for name, value in own.items() if value
    }


class Tracker:
    """One MLflow run. What is logged while MLflow does not answer is kept, and delivered later in the same order.

    Args:
        experiment: name of the experiment; created if absent.
        run_name: name of the run in MLflow's UI.
        run_id: ID of an earlier run to resume; None, or an ID that the server does not know, starts a new run.
        parameters: parameters, logged once.
        tags: tags, logged once.
        started: called with the ID of a newly started run.
        parent_run: ID of the parent run; None means the one in $TINYSTYLE_PARENT_RUN, if any.

    Attributes:
        run_id: ID of the run, None until MLflow has answered.
        experiment_id: ID of the experiment of a run that this object has started.
    """

    def __init__(
        self,
        experiment: str,
        run_name: str,
        run_id: str | None,
        parameters: dict[str, Any],
        tags: dict[str, str],
        started: Callable[[str], None],
        parent_run: str | None = None,
    ) -> None:
        self.run_id = run_id
        self.experiment_id: str | None = None
        parent_run = parent_run or os.environ.get(PARENT_RUN)
        self._kinship = {"mlflow.parentRunId": parent_run} if parent_run else {}
        self._experiment, self._run_name, self._parameters, self._tags = experiment, run_name, parameters, tags
        self._started = started
        self._machine = SystemMetrics()
        self._last_step: int | None = None
        self._client: Any = None
        self._pause = FIRST_PAUSE_SECONDS
        self._silent_until = 0.0
        self._waiting: deque[_Action] = deque(maxlen=MAX_WAITING)
        self._do(lambda _client, _run_id: None)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Log the metrics of a step, and every ten seconds the machine's resource usage."""
        self._last_step = step
        now, measured = _now(), values | self._machine.due()
        self._do(lambda client, run_id: _log(client, run_id, step, measured, now))

    def image(self, path: Path, key: str, step: int) -> None:
        """Log the image file `path` under the name `key`; MLflow's UI shows the steps of a key side by side."""

        def log(client: Any, run_id: str) -> None:
            with Image.open(path) as picture:
                client.log_image(run_id, picture.convert("RGB"), key=key, step=step)

        self._do(log)

    def dataset(self, name: str, digest: str, source: str, photos: int) -> None:
        """Log the training dataset as an input of the run; logging it again has no effect.

        Args:
            name: name of the dataset in MLflow's UI.
            digest: hexadecimal SHA-256 of its manifest, of which 36 digits are logged.
            source: path or URI.
            photos: number of photos.
        """

        def log(client: Any, run_id: str) -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            dataset = Dataset(
                name, digest[:36], "tinystyle", json.dumps({"uri": source}), profile=json.dumps({"photos": photos})
            )
            client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

        self._do(log)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload the file `path` to the run's artifacts, into `folder` if given."""
        self._do(lambda client, run_id: client.log_artifact(run_id, str(path), folder))

    def finish(self, status: str, artifacts: tuple[Path, ...] = (), folder: str | None = None) -> None:
        """Close the run and upload files, even during a pause; a server that has just gone away is waited for shortly.

        Args:
            status: FINISHED, FAILED or KILLED (stopped, and to be resumed).
            artifacts: files to upload.
            folder: artifact folder of the files.
        """
        self._silent_until = 0.0

        def close(client: Any, run_id: str) -> None:
            client.set_terminated(run_id, status)  # first, because the upload of files may fail
            if self._last_step is not None:  # so that even a run of a few seconds has one reading
                _log(client, run_id, self._last_step, self._machine.read(), _now())
            for path in artifacts:
                client.log_artifact(run_id, str(path), folder)

        self._do(close)
        for seconds in LAST_PAUSES_SECONDS:
            if not self._waiting or self._client is None:
                return
            sleep(seconds)
            self._silent_until = 0.0
            self._deliver()

    def _do(self, action: _Action) -> None:
        """Call `action` with the client and the run ID, after those that wait; in a pause it waits as well."""
        self._waiting.append(action)
        if monotonic() >= self._silent_until:
            self._deliver()

    def _deliver(self) -> None:
        """Call the actions that wait, oldest first; an error starts a pause, after which the same one is tried again."""
        try:
            # A server that does not answer must not block a GPU for minutes.
            with quiet(timeout=5, retries=1):
                client, run_id = self._connect()
                while self._waiting:
                    try:
                        self._waiting[0](client, run_id)
                    except Exception as error:
                        if not _hopeless(error):
                            raise
                        _LOG.warning("MLflow refused something, which is left out: %s", _reason(error))
                    self._waiting.popleft()
            self._pause = FIRST_PAUSE_SECONDS
        except Exception as error:
            if self._pause == FIRST_PAUSE_SECONDS:
                _LOG.warning("MLflow failed; training continues and will retry later: %s", _reason(error))
            self._silent_until = monotonic() + self._pause
            self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)

    def _connect(self) -> tuple[Any, str]:
        """Return the client and the run ID; the first successful call resumes or starts the run."""
        if self._client is not None and self.run_id is not None:
            return self._client, self.run_id
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException

        client = MlflowClient(tracking_uri())
        if self.run_id is not None:
            try:
                client.update_run(self.run_id, status="RUNNING")
                for name, value in self._kinship.items():
                    client.set_tag(self.run_id, name, value)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                self.run_id = None  # deleted, or the interrupted run used another server
        if self.run_id is None:
            experiment = _experiment_id(client, self._experiment)
            run_id = client.create_run(experiment, run_name=_free_name(client, experiment, self._run_name)).info.run_id
            client.log_batch(
                run_id,
                params=[Param(name, str(value)) for name, value in self._parameters.items()],
                tags=[RunTag(name, value) for name, value in (self._tags | self._kinship).items()],
            )
            self.run_id, self.experiment_id = run_id, experiment
            self._started(run_id)
        self._client = client
        return client, self.run_id


def close_run(run_id: str, status: str) -> None:
    """Close a run whose own process can no longer do so; a server that does not answer only causes a warning."""
    try:
        with connect() as client:
            client.set_terminated(run_id, status)
    except UserError as error:
        _LOG.warning("MLflow run %s is not closed: %s", run_id, error)


def complete_run(
    run_id: str, metrics: Sequence[tuple[int, Mapping[str, float]]], artifacts: tuple[Path, ...], folder: str
) -> bool:
    """Log what a run lacks, and mark it as FINISHED: for a training that was completed while MLflow did not answer.

    Args:
        run_id: ID of the run.
        metrics: steps, ascending, with the values of their metrics; of each metric, those after the last step that MLflow
            has are logged.
        artifacts: files to upload.
        folder: artifact folder of the files.

    Returns:
        Whether the run was not FINISHED yet.

    Raises:
        UserError: MLflow does not answer, or knows no such run.
    """
    with connect() as client:
        if client.get_run(run_id).info.status == "FINISHED":
            return False
        names = {name for _, values in metrics for name in values}
        last = {
            name: max((each.step for each in client.get_metric_history(run_id, name)), default=-1) for name in names
        }
        for step, values in metrics:
            if missing := {name: value for name, value in values.items() if step > last[name]}:
                _log(client, run_id, step, missing, _now())
        for path in artifacts:
            client.log_artifact(run_id, str(path), folder)
        client.set_terminated(run_id, "FINISHED")
    return True


def _hopeless(error: Exception) -> bool:
    """Return whether trying again cannot help: a file is gone, or the server calls the request invalid."""
    from mlflow.exceptions import MlflowException

    invalid = isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE"
    return invalid or isinstance(error, FileNotFoundError)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _now() -> int:
    return int(time() * 1000)


def _log(client: Any, run_id: str, step: int, values: dict[str, float], now: int) -> None:
    """Log metrics measured at `now`, in milliseconds since the epoch."""
    from mlflow.entities import Metric

    client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])


def _free_name(client: Any, experiment: str, name: str) -> str:
    """Return `name`, or with a number behind it if a run of that name exists, such as the same one trained again."""
    found = client.search_runs(
        [experiment], f"attributes.run_name LIKE '{name.replace(chr(39), '_')}%'", max_results=1000
    )
    taken = {run.info.run_name for run in found}
    names = (name, *(f"{name} ({number})" for number in range(2, len(taken) + 3)))
    return next(each for each in names if each not in taken)


def _experiment_id(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another run has just created it
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)
