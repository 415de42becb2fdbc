"""The stack on PostgreSQL: both servers make their tables, and a run is logged through them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg2
import pytest

from infra import processes
from tests.support.postgresql import running_postgresql
from tests.support.servers import free_block
from tests.support.stack import Stack, new_stack

pytestmark = pytest.mark.platform


@pytest.fixture
def postgresql() -> Iterator[str]:
    with running_postgresql() as address:
        yield address


@pytest.mark.e2e
def test_both_servers_keep_their_data_in_postgresql(postgresql: str, tmp_path: Path) -> None:
    stack = new_stack(tmp_path / "stack")
    try:
        started = stack.up("--database", postgresql)
        assert started.returncode == 0, started.stderr
        run = log_a_run(stack)
        assert rows(postgresql, "mlflow", f"SELECT value FROM metrics WHERE run_uuid = '{run}'") == [(0.5,)]
        assert rows(postgresql, "mlflow", "SELECT username FROM users") == [("admin",)]
        assert rows(postgresql, "prefect", "SELECT name FROM work_pool") == [("tinystyle",)]
        of_the_servers = [path for path in stack.folder.rglob("*.db") if not {"store", "metrics"} & {*path.parts}]
        assert of_the_servers == [], "nothing in SQLite"
    finally:
        stack.run("down")
    assert not processes.descendants(stack.folder)


def test_a_server_that_does_not_answer_is_refused_before_anything_starts(tmp_path: Path) -> None:
    stack = new_stack(tmp_path / "stack")
    refused = stack.up("--database", f"postgresql://operator:secret@127.0.0.1:{free_block(1)}")
    assert refused.returncode == 2
    assert "PostgreSQL refuses the connection; check --database" in refused.stderr
    assert "secret" not in refused.stderr
    assert not processes.descendants(stack.folder)


def log_a_run(stack: Stack) -> str:
    environment = stack.environment
    auth = (environment["MLFLOW_TRACKING_USERNAME"], environment["MLFLOW_TRACKING_PASSWORD"])
    with httpx.Client(
        base_url=environment["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow", auth=auth, timeout=30, trust_env=False
    ) as mlflow:
        run: str = mlflow.post("/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
        metric = {"run_id": run, "key": "loss", "value": 0.5, "timestamp": 0, "step": 0}
        mlflow.post("/runs/log-metric", json=metric).raise_for_status()
    return run


def rows(server: str, database: str, query: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(f"{server}/{database}")
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            found: list[tuple[object, ...]] = cursor.fetchall()
            return found
    finally:
        connection.close()
