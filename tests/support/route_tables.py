"""Every route of Prefect's and MLflow's servers, read from their applications: `python -m tests.support.route_tables NAME`.

In a process of its own, since both take seconds to import and read their settings from the environment.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.support.places import REPOSITORY

__all__ = ["WEBSOCKET", "routes"]

WEBSOCKET = "WEBSOCKET"
"""Stands for the method of a websocket's route."""


def routes(server: str) -> list[tuple[str, str]]:
    """(method, path) of every route of `prefect` or `mlflow`, its parameters filled in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "auth.ini").write_text(
            "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = admin\n"
            f"database_uri = sqlite:///{folder}/users.db\n"
        )
        environment = kept | {
            "PREFECT_HOME": folder,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_AUTH_CONFIG_PATH": f"{folder}/auth.ini",
            "MLFLOW_AUTH_ADMIN_PASSWORD": "never asked for",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "signs nothing",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        shown = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", __name__, server],
            cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    table = json.loads(shown.stdout.splitlines()[-1])
    return sorted({(method, re.sub(r"\{[^}]*\}|<[^>]*>", "x", path)) for method, path in table})


def _prefect() -> Iterator[tuple[str, str]]:
    from prefect.server.api.server import create_app

    yield from _of_starlette(create_app(final=True).routes)


def _mlflow() -> Iterator[tuple[str, str]]:
    from mlflow.server import app as flask
    from mlflow.server.auth import create_app
    from mlflow.server.fastapi_app import create_fastapi_app

    yield from _of_starlette(create_fastapi_app(flask).routes)
    create_app(flask)
    for rule in flask.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, rule.rule


def _of_starlette(table: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in table:
        route = getattr(entry, "starlette_route", None) or entry
        path = prefix + (getattr(route, "path", "") or "")
        if candidates := getattr(route, "effective_candidates", None):  # how FastAPI holds an included router
            yield from _of_starlette(candidates(), prefix)
        elif inner := getattr(route, "routes", None):
            yield from _of_starlette(inner, path)
        elif getattr(route, "methods", None):
            for method in route.methods - {"HEAD", "OPTIONS"}:
                yield method, path
        elif "WebSocket" in type(route).__name__:
            yield WEBSOCKET, path


if __name__ == "__main__":
    print(json.dumps(list({"prefect": _prefect, "mlflow": _mlflow}[sys.argv[1]]())))
