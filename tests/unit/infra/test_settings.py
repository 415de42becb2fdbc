"""A stack's choices and secrets."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.programs import mlflow_users
from infra.servers import mlflow_database, mlflow_server, prefect_server, store_server, workers
from infra.settings import (
    Secrets,
    StackSettings,
    client_environment,
    load_or_make_secrets,
    read_environment,
    write_environment,
    write_private,
)
from tinystyle.errors import UserError


def test_secrets_are_made_once_each_of_its_own_and_private(tmp_path: Path) -> None:
    made = load_or_make_secrets(tmp_path)
    assert load_or_make_secrets(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    values = list(made.model_dump().values())
    assert len({*values, *Secrets().model_dump().values()}) == 2 * len(values)
    assert all(len(value) >= 16 for value in values)


def test_a_private_file_is_private_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        seen.append(stat.S_IMODE(self.stat().st_mode))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    write_private(tmp_path / "secret", "value")
    assert seen == [0o600]
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_settings_are_kept(tmp_path: Path) -> None:
    assert StackSettings.load(tmp_path) is None
    settings = StackSettings(workers=3, s3_port=9100, database="postgresql://me:p%40ss@db:5433")
    settings.save(tmp_path)
    assert StackSettings.load(tmp_path) == settings


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"s3_port": 4195}, "--s3-port takes 4195 to 4203 and 14203"),
        ({"mlflow_port": 4200}, "the ports collide"),
        ({"prefect_port": 80}, "greater than or equal to 1024"),
        ({"database": "mysql://db"}, "give sqlite, or postgresql://"),
        ({"database": "postgresql://me@db/mine"}, "its databases are prefect and mlflow"),
        ({"prefect_port": 14203, "s3_port": 4195}, "the ports collide"),
        ({"s3_port": 60_000}, "less than or equal to"),
        ({"allowed_hosts": "https://mlflow.example.com"}, "takes host names"),
        ({"allowed_hosts": "mlflow.example.com:5000"}, "takes host names"),
        ({"allowed_hosts": "*"}, "takes host names"),
        ({"workers": -1}, "greater than or equal to 0"),
    ],
)
def test_choices_that_cannot_be_are_refused(choice: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        StackSettings.model_validate(choice)


def test_each_server_gets_the_secrets_it_needs_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "AWS_PROFILE"):
        monkeypatch.setenv(name, "of another place")
    settings, made = StackSettings(database="postgresql://me:p%40ss@db"), Secrets()
    holders = {
        server.name: server.environment.values()
        for server in (
            *(build(settings, made, tmp_path) for build in (store_server, mlflow_server, prefect_server)),
            *workers(settings, made, tmp_path),
        )
    }
    flows = {"coordinator", "worker-1"}
    held = {
        name: {holder for holder, values in holders.items() if any(value in text for text in values)}
        for name, value in made.model_dump().items()
    }
    assert held == {
        "s3_access_key": {"store", "mlflow"} | flows,
        "s3_secret_key": {"store", "mlflow"} | flows,
        "prefect_password": {"prefect", "keeper"} | flows,
        "mlflow_password": {"mlflow", "keeper"} | flows,
        "mlflow_cookie_key": {"mlflow"},
        "store_signing_key": {"store"},
    }
    assert not any("of another place" in values for values in holders.values())
    assert "database_uri = postgresql+psycopg2://me:p%%40ss@db/mlflow" in mlflow_users(
        mlflow_database(settings, tmp_path, "users")
    )


def test_a_worker_elsewhere_needs_the_whole_environment(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="env is missing"):
        read_environment(tmp_path / "env")
    environment = client_environment(StackSettings(), Secrets())
    write_environment(tmp_path / "env", environment)
    assert read_environment(tmp_path / "env") == environment
    del environment["AWS_SECRET_ACCESS_KEY"]
    write_environment(tmp_path / "env", environment)
    with pytest.raises(UserError, match="env lacks AWS_SECRET_ACCESS_KEY"):
        read_environment(tmp_path / "env")
