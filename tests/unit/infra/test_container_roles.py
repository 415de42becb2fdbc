"""What a container runs: secrets from files, none of them on a command line, one sentence for what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra import container_roles, servers
from infra.container_roles import Role
from infra.settings import Secrets, StackSettings
from tinystyle.errors import UserError

NAMES = (
    *("s3_access_key", "s3_secret_key", "store_signing_key", "prefect_password"),
    *("mlflow_password", "mlflow_cookie_key", "database_password"),
)
ROLES = [
    getattr(container_roles, name) for name in ("prefect", "mlflow", "store", "coordinator", "worker", "submitter")
]


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(f"secret/{name}\n")
    monkeypatch.setenv("TINYSTYLE_SECRETS", str(tmp_path))
    monkeypatch.setenv("TINYSTYLE_DATABASE", "postgresql://tinystyle@postgres:5432")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    return tmp_path


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.__name__)
@pytest.mark.usefixtures("secrets")
def test_secrets_are_not_on_the_command_line(role: Callable[[], Role]) -> None:
    made = role()
    assert "secret/" not in " ".join(made.command)
    assert "secret/" not in repr(made)
    assert any("secret" in value for value in made.environment.values())
    assert made.health.startswith("http://127.0.0.1:")


@pytest.mark.usefixtures("secrets")
def test_password_of_the_database_is_quoted() -> None:
    address = container_roles.database().database_url("prefect", "asyncpg")
    assert address == "postgresql+asyncpg://tinystyle:secret%2Fdatabase_password@postgres:5432/prefect"


@pytest.mark.usefixtures("secrets")
def test_servers_answer_to_the_names_that_other_containers_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYSTYLE_ALLOWED_HOSTS", "mlflow.example.com")
    names = container_roles.mlflow().environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"mlflow:*", "mlflow.example.com:*", "localhost:*", "127.0.0.1:*"} <= {*names}
    assert "prefect" in container_roles.prefect().environment["TINYSTYLE_ALLOWED_HOSTS"].split(",")


@pytest.mark.usefixtures("secrets")
def test_servers_are_set_up_as_on_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for addresses, ports and passwords."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store:9030")
    settings = StackSettings(database="postgresql://me@db")
    secrets = Secrets(**dict.fromkeys(Secrets.model_fields, "secret"))
    for name, role in (("prefect", container_roles.prefect()), ("mlflow", container_roles.mlflow())):
        here = getattr(servers, f"{name}_server")(settings, secrets, tmp_path)
        kept = {key for key in here.environment if key.startswith(("PREFECT_SERVER_", "MLFLOW_"))}
        assert kept <= role.environment.keys()
        options = [argument for argument in here.command if argument.startswith("--")]
        assert [argument for argument in role.command if argument.startswith("--")] == options


def test_missing_secret_is_named(secrets: Path) -> None:
    (secrets / "prefect_password").unlink()
    with pytest.raises(UserError, match=f"the secret prefect_password cannot be read: .*mount it at {secrets}"):
        container_roles.prefect()


def test_empty_secret_is_refused(secrets: Path) -> None:
    (secrets / "mlflow_cookie_key").write_text("\n")
    with pytest.raises(UserError, match="mlflow_cookie_key is empty"):
        container_roles.mlflow()


@pytest.mark.usefixtures("secrets")
def test_password_in_the_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYSTYLE_DATABASE", "postgresql://tinystyle:open@postgres:5432")
    with pytest.raises(UserError, match="the secret database_password is apart"):
        container_roles.database()


def test_clients_without_s3_keys_have_none(secrets: Path) -> None:
    """On a cloud, where the service account has the rights."""
    (secrets / "s3_access_key").unlink()
    (secrets / "s3_secret_key").unlink()
    environment = container_roles.clients()
    assert environment["PREFECT_API_AUTH_STRING"] == "admin:secret/prefect_password"
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & environment.keys()


@pytest.mark.usefixtures("secrets")
def test_only_s3_of_the_store_listens_outside() -> None:
    command = container_roles.store().command
    assert "-ip.bind=127.0.0.1" in command
    assert "-s3.ip.bind=0.0.0.0" in command
