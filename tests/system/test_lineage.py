"""The commit that a run is recorded with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tinystyle.training import lineage


def test_the_commit_is_that_of_this_package_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def commit() -> str:
        return lineage._commit.__wrapped__()

    module = tmp_path / "lineage.py"
    module.write_text("installed\n")
    monkeypatch.setattr(lineage, "__file__", str(module))
    assert commit() == "", "no checkout"
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "somebody else's")
    assert commit() == "", "another project's checkout"
    git("add", "lineage.py")
    git("commit", "--quiet", "--message", "ours")
    assert commit() == git("rev-parse", "HEAD")
    module.write_text("edited\n")
    assert commit() == git("rev-parse", "HEAD") + "-dirty"
