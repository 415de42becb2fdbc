"""The stack's servers: the command line, the environment and the readiness check of each."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from infra import certificates, programs, seaweedfs, work_pool, worker
from infra.bootstrap import BUCKETS
from infra.recovery import FLOW_ENVIRONMENT
from infra.settings import HOST, Secrets, StackSettings, client_environment, guard_environment, store_ports, trusting

__all__ = [
    "REPOSITORY",
    "Server",
    "mlflow_database",
    "mlflow_server",
    "prefect_server",
    "store_server",
    "worker_command",
    "worker_environment",
    "workers",
]

REPOSITORY = Path(__file__).parents[1]
"""Working directory of workers, because deployments name flows by paths relative to it."""
_CHECKOUT = {"PYTHONPATH": str(REPOSITORY)}  # servers that import code of ours run in folders of their own
_OF_THIS_MACHINE = programs.SILENT | {"AWS_EC2_METADATA_DISABLED": "true"}  # on a cloud, keys may come from there
# Variables of the user's shell that configure other servers.
_NOT_INHERITED = ("PREFECT_", "MLFLOW_", "AWS_", "WEED_", "S3_BUCKET")


@dataclass(frozen=True)
class Server:
    """One process of the stack, with all its descendants."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(repr=False)
    complaint: Callable[[], str | None]
    """Returns why the server is not ready yet, or None once it is. Never raises."""
    directory: Path
    ports: tuple[int, ...] = ()
    option: str = ""
    """The command-line option that changes its ports."""
    allowed_seconds: float = 120
    prepare: Callable[[], None] | None = None
    """Called right before the server is started, and only then."""


def store_server(settings: StackSettings, made: Secrets, folder: Path) -> Server:
    """Return the SeaweedFS server, with its data in store/."""
    clients = client_environment(settings, made)
    keys = {name: clients[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    inner = seaweedfs.environment(folder / "certificates", made.store_signing_key)
    return Server(
        name="store",
        command=seaweedfs.command(
            folder / "store", settings.s3_port, BUCKETS, (settings.tls_certificate, settings.tls_key)
        ),
        environment=_inherited() | keys | inner,
        complaint=partial(seaweedfs.complaint, seaweedfs.client(clients), BUCKETS[0]),
        directory=folder / "store",
        ports=store_ports(settings.s3_port),
        option="--s3-port",
        prepare=partial(certificates.renew, folder / "certificates"),
    )


def mlflow_server(settings: StackSettings, made: Secrets, folder: Path) -> Server:
    """Return the MLflow server, with user authentication.

    Artifacts pass through it to s3://mlflow/artifacts, so that clients need no S3 key.
    """
    clients = client_environment(settings, made)
    data = folder / "mlflow"
    pair = ["--ssl-certfile", settings.tls_certificate, "--ssl-keyfile", settings.tls_key]
    encrypted = ["--uvicorn-opts", shlex.join(pair)] if settings.tls_certificate else []
    environment = programs.mlflow_environment(
        mlflow_database(settings, folder, "mlflow"), data / "auth.ini", made.mlflow_password, made.mlflow_cookie_key,
        settings.host_names, clients,
    )  # fmt: skip
    return Server(
        name="mlflow",
        command=[
            *programs.mlflow_command(HOST, settings.mlflow_port, "s3://mlflow/artifacts", data / "metrics"),
            *encrypted,
        ],
        environment=_inherited() | guard_environment(settings) | _CHECKOUT | environment,
        complaint=partial(
            _http_complaint, "POST", f"{clients['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search",
            (clients["MLFLOW_TRACKING_USERNAME"], made.mlflow_password), {"max_results": 1}, trust=settings.tls_authority,
        ),
        directory=data,
        ports=(settings.mlflow_port,),
        option="--mlflow-port",
    )  # fmt: skip


def mlflow_database(settings: StackSettings, folder: Path, name: str) -> str:
    """Return the address of one of MLflow's databases: `mlflow`, or `users`, which PostgreSQL holds in the same one."""
    if settings.database != "sqlite":
        return settings.database_url("mlflow", "psycopg2")
    return f"sqlite:///{folder}/mlflow/{name}.db"


def prefect_server(settings: StackSettings, made: Secrets, folder: Path) -> Server:
    """Return the server of Prefect's API and UI, protected by one password."""
    clients = client_environment(settings, made)
    data = folder / "prefect"
    on_postgres = settings.database != "sqlite"
    environment = {"PREFECT_HOME": str(data)} | programs.prefect_environment(
        HOST,
        settings.prefect_port,
        clients["PREFECT_API_AUTH_STRING"],
        settings.database_url("prefect", "asyncpg") if on_postgres else f"sqlite+aiosqlite:///{data}/prefect.db",
        [f"{settings.scheme}://{name}:{settings.prefect_port}" for name in (HOST, "localhost")],
    )
    user, _, password = clients["PREFECT_API_AUTH_STRING"].partition(":")
    return Server(
        name="prefect",
        command=programs.prefect_command(),
        environment=_inherited() | guard_environment(settings) | _CHECKOUT | environment,
        complaint=partial(
            _http_complaint,
            "GET",
            f"{clients['PREFECT_API_URL']}/admin/version",
            (user, password),
            trust=settings.tls_authority,
        ),
        directory=data,
        ports=(settings.prefect_port,),
        option="--prefect-port",
    )


def workers(settings: StackSettings, made: Secrets, folder: Path) -> list[Server]:
    """Return the coordinator, for flows that wait for others, the workers, which run one flow at a time, and the keeper."""
    coordinator = _worker(settings, made, folder, "coordinator", ("--work-queue", "default"))
    names = [f"worker-{i + 1}" for i in range(settings.workers)]
    several = [_worker(settings, made, folder, name, work_pool.WORKER_OPTIONS) for name in names]
    return [coordinator, *several, _keeper(settings, made, folder)]


def _keeper(settings: StackSettings, made: Secrets, folder: Path) -> Server:
    """Return the process that starts again what has died: `infra.keeper`."""
    clients = client_environment(settings, made)
    needed = {name: value for name, value in clients.items() if name.startswith(("PREFECT_", "MLFLOW_"))}
    return Server(
        name="keeper",
        command=[sys.executable, "-m", "infra.keeper", "--folder", str(folder)],
        environment=worker_environment(needed),
        complaint=lambda: None,
        directory=REPOSITORY,
    )


def _worker(settings: StackSettings, made: Secrets, folder: Path, name: str, options: Sequence[str]) -> Server:
    clients = client_environment(settings, made)
    return Server(
        name=name,
        command=worker_command(name, options),
        environment=worker_environment(clients) | {"PREFECT_HOME": str(folder / "prefect")},
        complaint=partial(work_pool.worker_complaint, clients, name),
        directory=REPOSITORY,
    )


def worker_command(name: str, options: Sequence[str] = work_pool.WORKER_OPTIONS, kind: str = "process") -> list[str]:
    """Return the command line of a Prefect worker of the pool `tinystyle`; one of processes hands its runs over."""
    command = [
        str(programs.BIN / "prefect"), "worker", "start", "--pool", work_pool.NAME, "--type", kind, "--name", name,
        "--install-policy", "never", *options,
    ]  # fmt: skip
    return worker.command(command) if kind == "process" else command


def worker_environment(clients: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a worker: those of this process, of clients, and the path of the checkout.

    Variables of this process that configure other servers are left out. A worker is a client, because flows run in it.

    Args:
        clients: result of `client_environment` or `read_environment`.
    """
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "2", **FLOW_ENVIRONMENT}  # by default 10 seconds
    return {**_inherited(), **clients, **settings, "TINYSTYLE_CHECKOUT": str(REPOSITORY)}


def _inherited() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), HOST)))
    return (
        kept
        | _OF_THIS_MACHINE
        | {"PATH": f"{programs.BIN}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": direct, "no_proxy": direct}
    )


def _http_complaint(
    method: str, address: str, auth: tuple[str, str], body: Mapping[str, object] | None = None, *, trust: str = ""
) -> str | None:
    try:
        httpx.request(
            method, address, auth=auth, json=body, timeout=10, trust_env=False, verify=trusting(trust)
        ).raise_for_status()
    except (httpx.HTTPError, OSError) as error:  # OSError: a certificate that cannot be read
        return str(error)
    return None
