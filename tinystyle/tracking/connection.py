"""The connection to MLflow: its address, timeouts, and errors as one sentence. Independent of runs and models."""

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

__all__ = ["connect", "public_uri", "quiet", "run_page", "run_url", "tracking_uri", "user_name", "version_url"]

DEFAULT_URI = "sqlite:///mlflow.db"
LOCAL_UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves if it is not told otherwise."""
PROBE_SECONDS = 5.0
REFUSED = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def tracking_uri() -> str:
    """Return $MLFLOW_TRACKING_URI, by default a SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def public_uri() -> str:
    """Return `tracking_uri` without the user name and password that it may contain."""
    uri = tracking_uri()
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def user_name() -> str:
    """Return the account name of the user that runs this process, or the numeric user ID if the account has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return str(os.getuid())


def run_url(run_id: str) -> str | None:
    """Return the address of a run in MLflow's UI, or None if MLflow has no server or the server does not answer."""
    return _page(run_id, public_uri()) if tracking_uri().startswith("http") else None


def run_page(run_id: str, experiment: str | None = None) -> str:
    """Return where to see a run in words: the address of its page; before it, the command that serves a local store.

    Args:
        run_id: ID of the run.
        experiment: ID of its experiment; None asks MLflow, whose import alone takes a second.
    """
    if tracking_uri().startswith("http"):
        return _page(run_id, public_uri(), experiment) or f"at {public_uri()}, which does not answer"
    page = _page(run_id, LOCAL_UI, experiment)
    return f"`mlflow ui --backend-store-uri {public_uri()}`" + (f", then {page}" if page else "")


def _page(run_id: str, server: str, experiment: str | None = None) -> str | None:
    try:
        if experiment is None:
            with connect() as client:
                experiment = client.get_run(run_id).info.experiment_id
    except UserError:
        return None
    # Without the workflow type, MLflow's UI since 3.17 opens a view made for language models.
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"


def version_url(style: str, version: int) -> str | None:
    """Return the address of a registered version in MLflow's UI, or None if MLflow has no server."""
    uri = public_uri().rstrip("/")
    return f"{uri}/#/models/{style}/versions/{version}" if uri.startswith("http") else None


@contextmanager
def quiet(*, timeout: int, retries: int) -> Iterator[None]:
    """Silence MLflow's warnings, logs, progress bars and telemetry, and limit how long it waits for a server.

    Args:
        timeout: seconds to wait for a response.
        retries: number of retries of a failed request, each after twice the delay of the one before.

    Variables that the user has set in the environment take precedence.
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
        with warnings.catch_warnings():  # MLflow's parts warn about each other
            warnings.simplefilter("ignore")
            import mlflow  # noqa: F401  it sets log levels, which are changed below

            for name in ("alembic", "mlflow"):  # they log how they set up a database
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def connect() -> Iterator[Any]:
    """Yield an MlflowClient for calls that must succeed. It waits minutes for an upload, but seconds for a connection.

    Raises:
        UnavailableError: the server cannot be reached, or fails.
        UserError: the server refuses the credentials or the request, or the store does not exist.
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
    """Check that the server or the SQLite file exists, before the import of MLflow and faster than its requests would.

    Raises:
        UnavailableError: the server cannot be reached.
        UserError: the SQLite file does not exist.
    """
    if uri.startswith(("http://", "https://")):
        try:
            urllib.request.urlopen(public_uri().rstrip("/") + "/health", timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()  # an error status, but from a server that exists
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError):
                return  # MLflow has its own settings for trusted certificates
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
