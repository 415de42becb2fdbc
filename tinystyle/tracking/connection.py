"""Where MLflow is, how long to wait for it, and its faults in one sentence. Knows nothing of runs or models."""

from __future__ import annotations

import getpass
import http.client
import logging
import os
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tinystyle.errors import UnavailableError, UserError

__all__ = ["connect", "public_uri", "quiet", "run_url", "tracking_uri", "user_name"]

DEFAULT_URI = "sqlite:///mlflow.db"
PROBE_SECONDS = 5.0
REFUSED = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def tracking_uri() -> str:
    """$MLFLOW_TRACKING_URI, by default a SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def public_uri() -> str:
    """`tracking_uri` without the user and the password that an address may hold."""
    uri = tracking_uri()
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def user_name() -> str:
    """Who runs this process: the account's name, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def run_url(run_id: str) -> str | None:
    """Address of a run in MLflow's UI; None where there is no server, or it does not answer."""
    if not tracking_uri().startswith("http"):
        return None
    try:
        with connect() as client:
            experiment = client.get_run(run_id).info.experiment_id
    except UserError:
        return None
    # Without the type, MLflow's UI since 3.17 opens a view made for language models.
    return f"{public_uri().rstrip('/')}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"


@contextmanager
def quiet(*, timeout: int, retries: int) -> Iterator[None]:
    """MLflow without its warnings, logs, progress bars and telemetry, and only as patient as is asked.

    Args:
        timeout: seconds for an answer.
        retries: of a request that failed, each after a pause twice as long as the one before.

    What the user's environment sets counts.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        with warnings.catch_warnings():  # of MLflow's own parts to each other
            warnings.simplefilter("ignore")
            import mlflow  # noqa: F401  sets levels of its own

            for name in ("alembic", "mlflow"):  # how they set up a database
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def connect() -> Iterator[Any]:
    """An MlflowClient for what must succeed: uploads may take minutes, a server that is not there takes seconds.

    Raises:
        UnavailableError: the server cannot be reached, or fails.
        UserError: it refuses the credentials, or there is no such store.
    """
    uri = tracking_uri()
    _check_reachable(uri)
    with quiet(timeout=120, retries=3):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            yield MlflowClient(uri)
        except (MlflowException, RequestException) as error:
            raise _sentence(error) from error


def _check_reachable(uri: str) -> None:
    """Before MLflow is imported, and with less patience than its requests need."""
    if uri.startswith(("http://", "https://")):
        try:
            urllib.request.urlopen(public_uri().rstrip("/") + "/health", timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()  # there is a server
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError):
                return  # MLflow has settings of its own for whom to trust
            words = getattr(reason, "strerror", None) or str(reason) or "no answer"
            raise UnavailableError(
                f"the MLflow server at {public_uri()} cannot be reached ({words}); start it, or set MLFLOW_TRACKING_URI"
            ) from error
    elif uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).is_file():
        raise UserError(f"there is no MLflow store at {uri}; set MLFLOW_TRACKING_URI to the server's address")


def _sentence(error: Exception) -> UserError:
    code = getattr(error, "error_code", "")
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if code in REFUSED or status == 401:
        return UserError(
            f"the MLflow server at {public_uri()} refuses the credentials; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if code == "PERMISSION_DENIED" or status == 403:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
        return UserError(
            f"the MLflow server at {public_uri()} does not permit this to user {user!r}; ask its administrator"
        )
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return UnavailableError(f"MLflow at {public_uri()} fails: {reason}")
