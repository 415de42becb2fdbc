from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.frontier import launch_here, micro_options
from tinystyle.training.frontier import grid
from tinystyle.training.frontier.experiment import Frontier, run_frontier


@pytest.fixture(scope="session")
def made(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Frontier:
    """The grid of `micro_options`, trained, measured and shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "launch", launch_here)
        return run_frontier(micro_options(dataset, tmp_path_factory.mktemp("frontier")))
