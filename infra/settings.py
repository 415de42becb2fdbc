"""Settings of a stack: ports, databases, workers and secrets, and the environment of its clients.

All files are in the stack's folder; those with secrets are readable only by their owner from the moment they are
created.
"""

from __future__ import annotations

import os
import re
import secrets
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tinystyle.errors import UserError

__all__ = [
    "ALLOWED_HOSTS",
    "HOST",
    "PUBLIC_CERTIFICATES",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "Secrets",
    "StackSettings",
    "allowed_hosts",
    "client_environment",
    "guard_environment",
    "load_or_make_secrets",
    "read_environment",
    "store_ports",
    "trust",
    "trusting",
    "write_environment",
    "write_private",
]

HOST = "127.0.0.1"
"""The only address that the stack's servers listen on."""
PUBLIC_CERTIFICATES = ("public-authority.pem", "public.pem", "public.key")
"""Names of the stack's own authority, certificate and key for Prefect, MLflow and S3, in the folder `certificates`."""
_CONSECUTIVE, _FAR = 9, 10_000
TLS_CERTIFICATE, TLS_KEY = "TINYSTYLE_TLS_CERTIFICATE", "TINYSTYLE_TLS_KEY"
"""Environment variables that give Prefect's server the files of its certificate and key."""
ALLOWED_HOSTS = "TINYSTYLE_ALLOWED_HOSTS"
_TRUSTED = ("PREFECT_API_SSL_CERT_FILE", "MLFLOW_TRACKING_SERVER_CERT_PATH", "AWS_CA_BUNDLE")
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
    tls_certificate: str = ""
    """File with the certificate of Prefect, MLflow and S3, and those between it and its authority; empty for HTTP."""
    tls_key: str = ""
    """File with the private key of that certificate."""
    tls_authority: str = ""
    """File with the certificate of its authority; empty if every client trusts it anyway."""
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

    @model_validator(mode="after")
    def _readable_certificate(self) -> StackSettings:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise UserError("--tls-certificate and --tls-key go together")
        return self

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

    @property
    def host_names(self) -> list[str]:
        """Names by which Prefect and MLflow may be addressed."""
        return [HOST, "localhost", *filter(None, self.allowed_hosts.split(","))]

    @property
    def scheme(self) -> str:
        """`http` or `https`, of the three public servers."""
        return "https" if self.tls_certificate else "http"

    def with_tls(self, folder: Path) -> StackSettings:
        """Return these settings with the stack's own certificates, which `certificates.keep_public` makes."""
        names = ("tls_authority", "tls_certificate", "tls_key")
        own = {name: str(folder / "certificates" / file) for name, file in zip(names, PUBLIC_CERTIFICATES, strict=True)}
        return self.model_copy(update=own)

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
    trusted = dict.fromkeys(_TRUSTED, settings.tls_authority) if settings.tls_authority else {}
    return {
        "PREFECT_API_URL": f"{settings.scheme}://{HOST}:{settings.prefect_port}/api",
        "PREFECT_API_AUTH_STRING": f"admin:{made.prefect_password}",
        "MLFLOW_TRACKING_URI": f"{settings.scheme}://{HOST}:{settings.mlflow_port}",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": made.mlflow_password,
        "AWS_ENDPOINT_URL": f"{settings.scheme}://{HOST}:{settings.s3_port}",
        "AWS_ACCESS_KEY_ID": made.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": made.s3_secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        **trusted,
    }


def allowed_hosts() -> frozenset[str]:
    """Return the names by which this process, a server of the stack, may be addressed."""
    return frozenset(os.environ.get(ALLOWED_HOSTS, "").split(",")) - {""} | {HOST, "localhost"}


def guard_environment(settings: StackSettings) -> dict[str, str]:
    """Return the environment from which `allowed_hosts` and Prefect's server read."""
    return {
        ALLOWED_HOSTS: settings.allowed_hosts,
        TLS_CERTIFICATE: settings.tls_certificate,
        TLS_KEY: settings.tls_key,
    }


def trusting(authority: str | None) -> ssl.SSLContext | bool:
    """Return what `verify` of httpx is to be for the file of an authority, or for none.

    Raises:
        OSError: the file cannot be read.
    """
    return ssl.create_default_context(cafile=authority) if authority else True


def trust(clients: Mapping[str, str]) -> str | bool:
    """Return what `verify` of boto3 is to be for these clients: the file of an authority, or True."""
    return clients.get("AWS_CA_BUNDLE", True)


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
