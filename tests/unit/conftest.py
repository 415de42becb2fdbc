"""What unit tests share: the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tinystyle.commands import app as cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`tinystyle ARGUMENTS` in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tinystyle", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, error = capsys.readouterr()
        return int(ended.value.code or 0), output, error

    return run
