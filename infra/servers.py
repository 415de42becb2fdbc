"""The stack's servers: the command line, the environment and the readiness check of each."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from infra import certificates, seaweedfs, work_pool, worker
from infra.bootstrap import BUCKETS
from infra.recovery import HEARTBEAT_SECONDS
from infra.settings import HOST, Secrets, StackSettings, client_environment, guard_environment, store_ports, trusting

__all__ = [
    "REPOSITORY",
    "SILENT",
    "Server",
    "mlflow_hosts",
    "mlflow_server",
    "prefect_server",
    "store_server",
    "worker_command",
    "worker_environment",
    "workers",
]

REPOSITORY = Path(__file__).parents[1]
"""Working directory of workers, because deployments name flows by paths relative to it."""
_BIN = Path(sys.executable).parent
_CHECKOUT = {"PYTHONPATH": str(REPOSITORY)}  # servers that import code of ours run in folders of their own
SILENT = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""Environment in which nothing reports home."""
_OF_THIS_MACHINE = SILENT | {"AWS_EC2_METADATA_DISABLED": "true"}  # on a cloud, keys may come from there
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
    on_postgres = settings.database != "sqlite"
    store = settings.database_url("mlflow", "psycopg2") if on_postgres else f"sqlite:///{data}/mlflow.db"
    environment = {name: value for name, value in clients.items() if name.startswith("AWS_")} | {
        "MLFLOW_BACKEND_STORE_URI": store,  # not on the command line, which all users of the machine can read
        "MLFLOW_S3_ENDPOINT_URL": clients["AWS_ENDPOINT_URL"],
        "MLFLOW_AUTH_CONFIG_PATH": str(data / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": made.mlflow_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": made.mlflow_cookie_key,
        **mlflow_hosts(settings.host_names),
        # Disables the job runner for language-model judges: five more processes, not needed here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return Server(
        name="mlflow",
        command=[
            str(_BIN / "mlflow"), "server", "--host", HOST, "--port", str(settings.mlflow_port), "--workers", "2",
            "--app-name", "basic-auth", "--artifacts-destination", "s3://mlflow/artifacts", *encrypted,
            *_mlflow_metrics(folder),
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


def mlflow_hosts(names: Sequence[str]) -> dict[str, str]:
    """Return the environment in which MLflow's own check lets these host names pass, without ports, and no others."""
    # With ports, because MLflow compares whole headers; requests without a password get past this check alone.
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name},{name}:*" for name in names),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            f"{scheme}://{name},{scheme}://{name}:*" for scheme in ("http", "https") for name in names
        ),
    }


def _mlflow_metrics(folder: Path) -> list[str]:
    """Return the option that opens /metrics, behind MLflow's password, for which MLflow needs one more package."""
    there = importlib.util.find_spec("prometheus_flask_exporter")
    return ["--expose-prometheus", str(folder / "mlflow" / "metrics")] if there else []


def mlflow_users(settings: StackSettings, folder: Path) -> str:
    """Return the content of auth.ini, the database of MLflow's users. New users have no permissions by default."""
    on_postgres = settings.database != "sqlite"
    users = settings.database_url("mlflow", "psycopg2") if on_postgres else f"sqlite:///{folder}/mlflow/users.db"
    users = users.replace("%", "%%")  # ConfigParser's escape
    return (
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {users}\nadmin_username = admin\n"
        "authorization_function = infra.mlflow_login:authenticate\n"
        "auth_cache_ttl_seconds = 60\n"  # hashing a password takes longer than most requests
    )


def prefect_server(settings: StackSettings, made: Secrets, folder: Path) -> Server:
    """Return the server of Prefect's API and UI, protected by one password."""
    clients = client_environment(settings, made)
    data = folder / "prefect"
    on_postgres = settings.database != "sqlite"
    environment = {
        "PREFECT_HOME": str(data),
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(settings.prefect_port),
        # Other origins are refused; this keeps Prefect from telling browsers that they are welcome.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            f"{settings.scheme}://{name}:{settings.prefect_port}" for name in (HOST, "localhost")
        ),
        "PREFECT_SERVER_METRICS_ENABLED": "true",  # at /api/metrics, behind the password
        # Logs and artifacts whose flow run is gone; flows/keep_house.py removes the flow runs.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
        "PREFECT_SERVER_API_AUTH_STRING": clients["PREFECT_API_AUTH_STRING"],
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            settings.database_url("prefect", "asyncpg") if on_postgres else f"sqlite+aiosqlite:///{data}/prefect.db"
        ),
    }
    user, _, password = clients["PREFECT_API_AUTH_STRING"].partition(":")
    return Server(
        name="prefect",
        command=[sys.executable, "-m", "infra.prefect_server"],
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
        str(_BIN / "prefect"), "worker", "start", "--pool", work_pool.NAME, "--type", kind, "--name", name,
        "--install-policy", "never", *options,
    ]  # fmt: skip
    return worker.command(command) if kind == "process" else command


def worker_environment(clients: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a worker: those of this process, of clients, and the path of the checkout.

    Variables of this process that configure other servers are left out. A worker is a client, because flows run in it.

    Args:
        clients: result of `client_environment` or `read_environment`.
    """
    intervals = {  # in seconds, by default 10 and 180
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }
    return {**_inherited(), **clients, **intervals, "TINYSTYLE_CHECKOUT": str(REPOSITORY)}


def _inherited() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), HOST)))
    return (
        kept
        | _OF_THIS_MACHINE
        | {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": direct, "no_proxy": direct}
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
