"""How the servers of Prefect and MLflow are run, on a machine with a stack and in containers alike."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = [
    "BIN",
    "SILENT",
    "mlflow_command",
    "mlflow_environment",
    "mlflow_users",
    "prefect_command",
    "prefect_environment",
]

BIN = Path(sys.executable).parent
SILENT = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""Environment in which nothing reports home."""


def prefect_command() -> list[str]:
    """Return the command of the server of Prefect's API and UI, behind the guard."""
    return [sys.executable, "-m", "infra.prefect_server"]


def prefect_environment(host: str, port: int, password: str, database: str, origins: Sequence[str]) -> dict[str, str]:
    """Return the environment of Prefect's server.

    Args:
        host: address to listen on.
        port: TCP port.
        password: USER:PASSWORD, which every request needs.
        database: address of the database, with its password.
        origins: scheme, host and port of the pages whose scripts may call the API: its own.
    """
    return {
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        # The guard refuses other origins; this keeps Prefect from telling browsers that they are welcome.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "PREFECT_SERVER_METRICS_ENABLED": "true",  # at /api/metrics, behind the password
        # Logs and artifacts whose flow run is gone; flows/keep_house.py removes the flow runs.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
    }


def mlflow_command(host: str, port: int, artifacts: str, metrics: Path) -> list[str]:
    """Return the command of MLflow's server, with users and passwords; artifacts pass through it to `artifacts`.

    Args:
        host: address to listen on.
        port: TCP port.
        artifacts: URI of the folder of all artifacts.
        metrics: folder in which its processes add up what /metrics shows, behind the password. MLflow needs one more
            package for it, without which there is no such page.
    """
    shown = ["--expose-prometheus", str(metrics)] if importlib.util.find_spec("prometheus_flask_exporter") else []
    return [
        str(BIN / "mlflow"), "server", "--host", host, "--port", str(port), "--workers", "2",
        "--app-name", "basic-auth", "--artifacts-destination", artifacts, *shown,
    ]  # fmt: skip


def mlflow_environment(
    database: str, users: Path, password: str, cookie_key: str, names: Sequence[str], clients: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of MLflow's server.

    Args:
        database: address of the database, with its password.
        users: the file that `mlflow_users` is the content of.
        password: that of the user admin.
        cookie_key: what MLflow signs cookies with.
        names: host names by which it is addressed, without ports; MLflow refuses others.
        clients: environment of the platform's clients, for what it needs to reach S3.
    """
    storage = {name: value for name, value in clients.items() if name.startswith("AWS_")}
    if "AWS_ENDPOINT_URL" in storage:
        storage["MLFLOW_S3_ENDPOINT_URL"] = storage["AWS_ENDPOINT_URL"]
    return storage | {
        "MLFLOW_BACKEND_STORE_URI": database,  # not on the command line, which all users of the machine can read
        "MLFLOW_AUTH_CONFIG_PATH": str(users),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": cookie_key,
        # With ports, because MLflow compares whole headers; requests without a password get past this check alone.
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name},{name}:*" for name in names),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            f"{scheme}://{name},{scheme}://{name}:*" for scheme in ("http", "https") for name in names
        ),
        # Disables the job runner for language-model judges: five more processes, not needed here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def mlflow_users(database: str) -> str:
    """Return the content of auth.ini, for MLflow's users in `database`. New users have no permissions by default."""
    escaped = database.replace("%", "%%")  # ConfigParser's escape
    return (
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {escaped}\nadmin_username = admin\n"
        "authorization_function = infra.mlflow_login:authenticate\n"
        "auth_cache_ttl_seconds = 60\n"  # hashing a password takes longer than most requests
    )
