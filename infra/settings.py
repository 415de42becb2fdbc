"""Settings of a stack: ports, databases, workers and secrets, and the environment of its clients.

All files are in the stack's folder; those with secrets are readable only by their owner from the moment they are
created.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tinystyle.errors import UserError

__all__ = [
    "HOST",
    "Secrets",
    "StackSettings",
    "allowed_hosts",
    "client_environment",
    "guard_environment",
    "load_or_make_secrets",
    "read_environment",
    "store_ports",
    "write_environment",
    "write_private",
]

HOST = "127.0.0.1"
"""The only address that the stack's servers listen on."""
_CONSECUTIVE, _FAR = 9, 10_000
_ALLOWED_HOSTS = "TINYSTYLE_ALLOWED_HOSTS"
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def store_ports(s3_port: int) -> tuple[int, ...]:
    """Return the object store's ports: the S3 port, the eight after it, and one that is 10,000 above the last of those.

    The store's own worker expects that distance between the two ports of the server that gives it work.
    """
    consecutive = tuple(range(s3_port, s3_port + _CONSECUTIVE))
    return (*consecutive, consecutive[-1] + _FAR)


class StackSettings(BaseModel):
    """The settings of a stack, saved as settings.json, so that later 'up' and 'down' commands need not repeat them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefect_port: int = Field(default=4200, ge=1024, le=65535)
    mlflow_port: int = Field(default=5000, ge=1024, le=65535)
    s3_port: int = Field(default=9030, ge=1024, le=65535 - _CONSECUTIVE - _FAR)
    """The S3 port; the store's internal servers use the eight ports after it and one far above, see `store_ports`."""
    database: str = "sqlite"
    """`sqlite`, or a PostgreSQL server without a database name, postgresql://USER:PASSWORD@HOST:PORT."""
    allowed_hosts: str = ""
    """Comma-separated host names, without ports, by which proxies and other containers address Prefect and MLflow."""
    workers: int = Field(default=1, ge=0, le=64)
    """Number of Prefect workers on this machine; each trains one network, or ingests one partition, at a time."""

    @field_validator("database")
    @classmethod
    def _known_database(cls, database: str) -> str:
        if database == "sqlite":
            return database
        address = urlsplit(database)
        if address.scheme not in ("postgresql", "postgres") or not address.hostname:
            raise UserError("give sqlite, or postgresql://USER:PASSWORD@HOST:PORT")
        if address.path.strip("/") or address.query:
            raise UserError(
                "name the server only, postgresql://USER:PASSWORD@HOST:PORT; its databases are prefect and mlflow"
            )
        return f"postgresql://{address.netloc}"

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, names: str) -> str:
        names = names.lower().replace(" ", "")
        if not all(_HOST_NAME.fullmatch(name) for name in filter(None, names.split(","))):
            raise UserError("--allowed-hosts takes host names without ports, such as mlflow.example.com,10.0.0.5")
        return names

    @model_validator(mode="after")
    def _distinct_ports(self) -> StackSettings:
        store = store_ports(self.s3_port)
        if self.prefect_port == self.mlflow_port or {self.prefect_port, self.mlflow_port} & set(store):
            raise UserError(
                f"the ports collide: --prefect-port {self.prefect_port}, --mlflow-port {self.mlflow_port}, and "
                f"--s3-port takes {store[0]} to {store[-2]} and {store[-1]}"
            )
        return self

    @classmethod
    def load(cls, folder: Path) -> StackSettings | None:
        """Read the settings saved in `folder`, or return None if there are none."""
        path = folder / "settings.json"
        return cls.model_validate_json(path.read_bytes()) if path.exists() else None

    def save(self, folder: Path) -> None:
        """Write settings.json, readable only by its owner because the address of a database may contain a password."""
        write_private(folder / "settings.json", self.model_dump_json(indent=2) + "\n")

    def database_url(self, name: str, driver: str) -> str:
        """Return SQLAlchemy's URL of database `name` on the PostgreSQL server."""
        return f"postgresql+{driver}://{self.database.removeprefix('postgresql://')}/{name}"


class Secrets(BaseModel):
    """The secrets of a stack, generated once and saved as secrets.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    s3_access_key: str = Field(default_factory=lambda: "tinystyle-" + secrets.token_hex(6))
    s3_secret_key: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    prefect_password: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    mlflow_password: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    mlflow_cookie_key: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    store_signing_key: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    """Authenticates the object store's internal servers, which any user of the machine could read without it."""


def load_or_make_secrets(folder: Path) -> Secrets:
    """Return the stack's secrets, generated on first use."""
    path = folder / "secrets.json"
    if path.exists():
        return Secrets.model_validate_json(path.read_bytes())
    made = Secrets()
    write_private(path, made.model_dump_json(indent=2) + "\n")
    return made


def client_environment(settings: StackSettings, made: Secrets) -> dict[str, str]:
    """Return the environment variables for clients of the stack, which are also the content of the file `env`."""
    return {
        "PREFECT_API_URL": f"http://{HOST}:{settings.prefect_port}/api",
        "PREFECT_API_AUTH_STRING": f"admin:{made.prefect_password}",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{settings.mlflow_port}",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": made.mlflow_password,
        "AWS_ENDPOINT_URL": f"http://{HOST}:{settings.s3_port}",
        "AWS_ACCESS_KEY_ID": made.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": made.s3_secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def allowed_hosts() -> frozenset[str]:
    """Return the names by which this process, a server of the stack, may be addressed."""
    return frozenset(os.environ.get(_ALLOWED_HOSTS, "").split(",")) - {""} | {HOST, "localhost"}


def guard_environment(settings: StackSettings) -> dict[str, str]:
    """Return the environment from which `allowed_hosts` reads."""
    return {_ALLOWED_HOSTS: settings.allowed_hosts}


def write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """Write KEY=value lines that a shell can source and Docker can read (--env-file), readable only by their owner."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in environment.items()))


def read_environment(path: Path) -> dict[str, str]:
    """Read a file that `write_environment` wrote, on this or the stack's machine.

    Raises:
        UserError: the file is missing or lacks a variable.
    """
    if not path.exists():
        raise UserError(f"{path} is missing; start a stack with 'up', or copy that file from the stack's machine")
    environment = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    missing = client_environment(StackSettings(), Secrets()).keys() - environment.keys()
    if missing:
        raise UserError(f"{path} lacks {', '.join(sorted(missing))}; copy it again from the stack's machine")
    return environment


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, with mode 0600 from its creation."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
