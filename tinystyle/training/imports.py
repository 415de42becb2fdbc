"""Imports Lightning without what it would import for nobody: torchmetrics' plots and audio metrics take a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

__all__ = ["import_lightning"]

_UNUSED = ("matplotlib", "scipy")


def import_lightning() -> None:
    """Import Lightning and torchmetrics as if matplotlib and scipy were not installed; these can be imported later."""
    with _hidden():
        import lightning  # noqa: F401


class _Hide(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in _UNUSED:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)


@contextmanager
def _hidden() -> Iterator[None]:
    """Hide the packages from imports, and from the two ways in which torchmetrics asks whether they are installed."""
    from lightning_utilities.core.imports import RequirementCache, package_available

    check = RequirementCache._check_available

    def without(self: Any) -> None:
        if self.requirement in _UNUSED:
            self.available, self.message = False, f"{self.requirement} is hidden"
        check(self)

    finder = _Hide()
    sys.meta_path.insert(0, finder)
    RequirementCache._check_available = without  # type: ignore[method-assign]
    package_available.cache_clear()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        RequirementCache._check_available = check  # type: ignore[method-assign]
        package_available.cache_clear()
