"""What each container of the platform runs: command, environment, files, and the address that answers when it is well.

Nothing here starts anything; infra/container.py does.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from infra import programs, seaweedfs, servers, work_pool
from infra.recovery import FLOW_ENVIRONMENT
from infra.settings import ALLOWED_HOSTS, StackSettings
from tinystyle.errors import UserError

__all__ = [
    "NOTE",
    "Role",
    "clients",
    "coordinator",
    "database",
    "keeper",
    "mlflow",
    "prefect",
    "store",
    "submitter",
    "worker",
]

_SCRATCH = Path(tempfile.gettempdir())
NOTE = _SCRATCH / "tinystyle-health"
"""File in which a container notes the address of its own server, for its health check."""
_CLIENT_SECRETS = {
    "PREFECT_API_AUTH_STRING": ("prefect_password", "admin:"),
    "MLFLOW_TRACKING_PASSWORD": ("mlflow_password", ""),
    "AWS_ACCESS_KEY_ID": ("s3_access_key", ""),
    "AWS_SECRET_ACCESS_KEY": ("s3_secret_key", ""),
}
_ADDRESSES = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
_STORE_PORTS = tuple(f"{name}.{port}" for name in ("s3", "master", "volume", "filer") for port in ("port", "port.grpc"))


@dataclass(frozen=True)
class Role:
    """One program, and what it needs."""

    command: list[str]
    environment: dict[str, str] = field(repr=False)
    health: str = ""
    """Address that answers with success while the server is well; empty for a program that is not a server."""
    files: dict[Path, str] = field(default_factory=dict, repr=False)
    """Files to write before it starts, readable only by their owner."""


def clients() -> dict[str, str]:
    """Return the environment of the platform's clients, of what this container knows.

    S3 keys may be absent: on a cloud, the machine or the service account has the rights.
    """
    found = {name: os.environ[name] for name in _ADDRESSES if name in os.environ}
    found.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    for variable, (name, prefix) in _CLIENT_SECRETS.items():
        if (_folder() / name).exists():
            found[variable] = prefix + _secret(name)
    return (
        found | programs.SILENT | {"MLFLOW_TRACKING_USERNAME": "admin", "TINYSTYLE_CHECKOUT": str(servers.REPOSITORY)}
    )


def database() -> StackSettings:
    """Return the address of PostgreSQL, in TINYSTYLE_DATABASE (postgresql://USER@HOST:PORT), with its password.

    Raises:
        UserError: the variable or the secret is missing, or the address names a password or a database.
    """
    given = os.environ.get("TINYSTYLE_DATABASE", "")
    address = urlsplit(given)
    if address.scheme != "postgresql" or not address.username or address.password is not None:
        raise UserError("set TINYSTYLE_DATABASE to postgresql://USER@HOST:PORT; the secret database_password is apart")
    password = quote(_secret("database_password"), safe="")
    place = address.netloc.rpartition("@")[2]
    rest = given.partition(address.netloc)[2]
    return StackSettings(database=f"postgresql://{address.username}:{password}@{place}{rest}")


def prefect() -> Role:
    """Return the server of Prefect's API and UI."""
    port = _port(4200)
    address = database().database_url("prefect", "asyncpg")
    origins = [f"{scheme}://{name}" for scheme in ("http", "https") for name in _names("prefect")]
    return Role(
        programs.prefect_command(),
        programs.SILENT
        | _guard("prefect")
        | programs.prefect_environment(_bind(), port, f"admin:{_secret('prefect_password')}", address, origins)
        # The server copies its page there, by default into its own package.
        | {"PREFECT_UI_STATIC_DIRECTORY": str(_SCRATCH / "prefect-ui")},
        f"http://127.0.0.1:{port}/api/health",
    )


def mlflow() -> Role:
    """Return the MLflow server, with users and passwords, whose artifacts pass through it."""
    port = _port(5000)
    address = database().database_url("mlflow", "psycopg2")
    users = _SCRATCH / "mlflow" / "auth.ini"
    artifacts = os.environ.get("TINYSTYLE_MLFLOW_ARTIFACTS", "s3://mlflow/artifacts")
    secrets = _secret("mlflow_password"), _secret("mlflow_cookie_key")
    return Role(
        programs.mlflow_command(_bind(), port, artifacts, users.with_name("metrics")),
        programs.SILENT
        | _guard("mlflow")
        | programs.mlflow_environment(address, users, *secrets, _names("mlflow"), clients()),
        f"http://127.0.0.1:{port}/health",
        {users: programs.mlflow_users(address)},
    )


def store() -> Role:
    """Return the object store, its data in /data. Only S3 is reached from outside; the inner servers are not."""
    port = _port(9030)
    signing = {f"WEED_JWT_{name}": _secret("store_signing_key") for name in seaweedfs.SIGNING}
    keys = {"AWS_ACCESS_KEY_ID": _secret("s3_access_key"), "AWS_SECRET_ACCESS_KEY": _secret("s3_secret_key")}
    inner = {name: port + i for i, name in enumerate(_STORE_PORTS)}
    folder = os.environ.get("TINYSTYLE_DATA", "/data")
    return Role(
        [
            str(seaweedfs.WEED), "server", "-filer", "-s3", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.ip.bind={_bind()}", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=1024", "-volume.max=0",
            *(f"-{name}={number}" for name, number in inner.items()),
        ],
        keys | signing,
        f"http://127.0.0.1:{port}/healthz",
    )  # fmt: skip


def coordinator() -> Role:
    """Return the worker for flows that wait for others."""
    return _worker("process", "coordinator", ["--work-queue", "default"])


def keeper() -> Role:
    """Return the process that starts flow runs again that died."""
    return Role([sys.executable, "-m", "infra.keeper"], clients())


def worker() -> Role:
    """Return a worker that trains or ingests, one flow at a time, in processes of its own container."""
    return _worker("process", os.environ.get("HOSTNAME", "worker"), list(work_pool.WORKER_OPTIONS))


def submitter() -> Role:
    """Return the worker of a Kubernetes pool, which makes each flow run a Job and trains nothing itself."""
    return _worker("kubernetes", os.environ.get("HOSTNAME", "submitter"), [])


def _worker(kind: str, name: str, options: list[str]) -> Role:
    port = _port(8080)
    command = servers.worker_command(name, [*options, "--with-healthcheck"], kind)
    served = {"PREFECT_WORKER_WEBSERVER_HOST": _bind(), "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "5", **FLOW_ENVIRONMENT}
    return Role(command, clients() | served | settings, f"http://127.0.0.1:{port}/health")


def _guard(name: str) -> dict[str, str]:
    """Return the environment of a server that is called `name` by other containers; the guard refuses other names."""
    return {ALLOWED_HOSTS: ",".join(_names(name)), "PYTHONPATH": str(servers.REPOSITORY)}


def _names(own: str) -> list[str]:
    """Return the host names by which a server is addressed that other containers call `own`."""
    return StackSettings(allowed_hosts=",".join([own, os.environ.get(ALLOWED_HOSTS, "")])).host_names


def _bind() -> str:
    return os.environ.get("TINYSTYLE_BIND", "0.0.0.0")


def _port(usual: int) -> int:
    return int(os.environ.get("TINYSTYLE_PORT", usual))


def _folder() -> Path:
    return Path(os.environ.get("TINYSTYLE_SECRETS", "/run/secrets"))


def _secret(name: str) -> str:
    path = _folder() / name
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise UserError(f"the secret {name} cannot be read: {error}; mount it at {path}") from error
    if not text:
        raise UserError(f"the secret {path} is empty")
    return text
