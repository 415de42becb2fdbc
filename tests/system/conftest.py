"""Fixtures of tests that start processes: an object store, MLflow as a server and without one, a model to put there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mlflow_store import Store, finished_model, running_mlflow
from tests.support.servers import ObjectStore, free_block, running_object_store


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    return free_block(1)


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 object store with an empty bucket `coco`, in the environment of this process for the session."""
    with running_object_store(tmp_path_factory.mktemp("store"), bucket="coco") as store:
        yield store


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """`mlflow server` with basic-auth."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow-server")) as store:
        yield store


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("mlflow-sqlite")
    return Store({"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}, folder)


@pytest.fixture(params=[pytest.param("server", marks=pytest.mark.platform), "sqlite"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    chosen: Store = request.getfixturevalue(request.param)
    for name, value in chosen.environment.items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(chosen.folder)  # where a store without a server keeps its artifacts
    return chosen


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished model, not to be changed."""
    return finished_model(tmp_path_factory.mktemp("finished"))
