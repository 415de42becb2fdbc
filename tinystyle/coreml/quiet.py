"""Silences converters: what they print, their warnings and logs."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ["quiet", "silent"]


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Silence warnings, and what Python prints, such as progress bars. Exceptions are still raised."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence coremltools, even while it is imported: log, warnings and progress bars. Exceptions are still raised."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with silent():
            yield
    finally:
        logger.setLevel(level)
