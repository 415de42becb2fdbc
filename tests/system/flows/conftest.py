"""What tests of flows share: a Prefect server of their own, an MLflow store, and parameters of a training of seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

QUIET = (
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's and Prefect's parts warn each other
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
)
"""Prefect leaves connections to be collected."""


@dataclass(frozen=True)
class Platform:
    """Where a test's flows run."""

    folder: Path
    parameters: dict[str, Any]
    """Of train-style, but for the style."""

    def environment(self) -> dict[str, str]:
        """Of a process that is to run flows on the same server."""
        import prefect.settings

        root = str(Path(__file__).parents[3])
        return {**os.environ, "PREFECT_API_URL": str(prefect.settings.PREFECT_API_URL.value()), "PYTHONPATH": root}


@pytest.fixture(scope="package")
def platform(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Prefect's server on SQLite, in a process of its own; MLflow on SQLite, without one."""
    from prefect.testing.utilities import prefect_test_harness

    folder = tmp_path_factory.mktemp("platform")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # MLflow puts the artefacts of a store without a server here
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
