"""Imports Lightning without what torchmetrics would import for nobody: plots, audio, language models."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

__all__ = ["import_lightning"]

_UNUSED = ("matplotlib", "scipy")
"""Packages that are hidden from imports too, since torchmetrics also looks whether their modules can be found."""
_NEEDED = ("lightning", "torch", "torchmetrics")


def import_lightning() -> None:
    """Import Lightning and torchmetrics as if nothing were installed that they can do without.

    All of it can be imported later.
    """
    with _hidden():
        import lightning  # noqa: F401


class _Hide(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in _UNUSED:
            raise ModuleNotFoundError(f"{fullname} is hidden", name=fullname)


@contextmanager
def _hidden() -> Iterator[None]:
    """Hide packages from imports, and from the two ways in which torchmetrics asks whether they are installed.

    It asks about more than is hidden from imports: a package that it found would miss its own scipy.
    """
    from lightning_utilities.core.imports import RequirementCache, package_available

    check = RequirementCache._check_available

    def without(self: Any) -> None:
        package = re.split(r"[^\w-]", self.requirement or self.module or "")[0].replace("-", "_")
        if package not in sys.modules and package not in _NEEDED:
            self.available, self.message = False, f"{package} is hidden"
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
