"""The command line in this process."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from tinystyle.commands import app

__all__ = ["COMMANDS", "Run", "complaint", "runner"]

COMMANDS = (
    "ingest", "train", "add-style", "report", "export", "verify", "evaluate", "stylize", "video", "live", "swift", "web",
    "networks", "styles", "frontier", "compare", "models", "promote", "publish", "rollback", "published", "doctor", "demo",
)  # fmt: skip

Run = Callable[..., tuple[int, str, str]]
"""`tinystyle ARGUMENTS`: (exit code, stdout, stderr)."""


def runner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """What runs `tinystyle` in this process."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tinystyle", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            app.main()
        output, error = capsys.readouterr()
        return int(ended.value.code or 0), output, error

    return run


def complaint(error: str) -> str:
    """What a command wrote to stderr, without the line in which `train` says what it is reading."""
    return re.sub(r"^Reading the style image, .* \.\.\.\n", "", error)
