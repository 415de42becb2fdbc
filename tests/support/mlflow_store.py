"""MLflow as a server with passwords, and a finished model to put into a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from tests.support.bundles import entry
from tests.support.servers import free_block
from tinystyle.config import NetworkConfig
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.model_file import load_model, save_model
from tinystyle.nets import build_network
from tinystyle.release.bundle import Bundle
from tinystyle.release.package_zip import zip_package
from tinystyle.tracking import registry
from tinystyle.tracking.run import Tracker

__all__ = ["TAGS", "Store", "client", "finished_model", "finished_run", "running_mlflow", "tracker"]

PASSWORD = "a password of tests"
START_SECONDS = 120
TAGS = {"architecture": "small", "alpha": "0.1", "bytes": "15297", "bits": "8", "psnr": "47.123", "paint4": "1.53"}
"""Of a registered version."""


@dataclass(frozen=True)
class Store:
    """Where MLflow keeps things, and what a client sets to get there."""

    environment: dict[str, str]
    folder: Path
    """Of the artifacts, in this folder or below."""

    @property
    def is_server(self) -> bool:
        return self.environment["MLFLOW_TRACKING_URI"].startswith("http")


@contextmanager
def running_mlflow(folder: Path) -> Iterator[Store]:
    """`mlflow server` with basic-auth, its database SQLite, its artifacts in a folder that clients know nothing of."""
    port = free_block(1)
    uri = f"http://127.0.0.1:{port}"
    settings = folder / "auth.ini"
    settings.write_text(
        # Without the cache every request takes a quarter of a second for the hash of its password.
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\nauth_cache_ttl_seconds = 60\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))},
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of tests",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_it_serves(uri, process, folder / "server.log")
            credentials = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
            yield Store({"MLFLOW_TRACKING_URI": uri, **credentials}, folder)
        finally:
            family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            process.terminate()
            _, alive = psutil.wait_procs(family, timeout=15)
            for survivor in alive:
                survivor.kill()
            process.wait(10)


def finished_model(folder: Path) -> Path:
    """Make `folder` that of a finished model, untrained: two Core ML files, one of them a package, as a folder and as its zip."""
    torch.manual_seed(0)
    config = NetworkConfig(alpha=0.1)
    file, exports = folder / "model" / "model.safetensors", folder / "exports"
    save_model(build_network(config.architecture, config.alpha), file, config, {"key": "0123456789abcdef"})
    (folder / "model" / "run.json").write_text("{}")
    for format in ("mlmodel", "mlpackage"):
        export_model(load_model(file), format=format, bits=8, size=(64, 64), out=exports / f"mosaic-8.{format}")
    zip_package(exports / "mosaic-8.mlpackage", exports / "mosaic-8.mlpackage.zip")
    Bundle(folder).write_entries(
        [entry(exports / "mosaic-8.mlmodel", "mlmodel"), entry(exports / "mosaic-8.mlpackage.zip", "mlpackage")]
    )
    (exports / "mosaic-8.mlmodel.md").write_text("# the card")
    rows = [{"name": "identity", "total": 3.0}, {"name": "small 0.1", "total": 1.5}]
    (folder / "evaluation.json").write_text(json.dumps({"name": "small 0.1", "rows": rows}))
    return folder


def _wait_until_it_serves(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mlflow server does not serve: {log.read_text()[-2000:]}") from error
            time.sleep(0.2)
        else:
            return


def client() -> Any:
    """A client of the store that the environment names."""
    from mlflow import MlflowClient

    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def tracker(style: str, run_id: str | None = None, parent_run: str | None = None) -> Tracker:
    """Begins a run, or goes on with one."""
    return Tracker(style, "a run", run_id, {"alpha": 0.1}, {"lineage.key": "k"}, lambda _: None, parent_run)


def finished_run(style: str, folder: Path) -> str:
    """The ID of a new run that is finished and holds the model in `folder`."""
    tracked = tracker(style)
    tracked.finish("FINISHED")
    assert tracked.run_id is not None
    registry.log_model(tracked.run_id, folder)
    return tracked.run_id
