"""What tests of flows share: where their flows run, and which warnings are none of ours."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import REPOSITORY

__all__ = ["QUIET", "Platform"]

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

        return {
            **os.environ,
            "PREFECT_API_URL": str(prefect.settings.PREFECT_API_URL.value()),
            "PYTHONPATH": str(REPOSITORY),
        }
