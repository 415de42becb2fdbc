"""Where things lie that tests read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ASSETS", "REPOSITORY", "SHARED"]

REPOSITORY = Path(__file__).parents[2]
ASSETS = REPOSITORY / "tests" / "assets"
SHARED = REPOSITORY.parent / "shared" / "data"
"""The project's photographs, paintings and weights; not part of the repository."""
