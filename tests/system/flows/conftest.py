"""A Prefect server and an MLflow store for the tests of flows, and parameters of a training of seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flows import Platform


@pytest.fixture(scope="package")
def platform(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Prefect's server on SQLite, in a process of its own; MLflow on SQLite, without one."""
    from prefect.testing.utilities import prefect_test_harness

    folder = tmp_path_factory.mktemp("platform")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # MLflow puts the artifacts of a store without a server here
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("PREFECT_HOME", str(folder / "prefect"))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        from tinystyle.tracking.run import Tracker

        Tracker("Default", "makes the store", None, {}, {}, lambda _: None).finish("FINISHED")
        with prefect_test_harness(server_startup_timeout=120):
            yield Platform(
                folder,
                {
                    "alpha": 0.1,
                    "photos": str(dataset),
                    "steps": 12,
                    "size": 48,
                    "perceptual": "efficientnet-lite0",
                    "export_size": "64x48",
                    "checkpoints": str(folder / "checkpoints"),
                },
            )
