"""A real PostgreSQL server for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import free_block

__all__ = ["running_postgresql"]

_PLACES = [
    Path("/usr/lib/postgresql/15/bin"),
    Path("/usr/lib/postgresql/16/bin"),
    Path("/usr/local/bin"),
    Path("/usr/bin"),
]


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Address of a PostgreSQL server with an empty cluster and a password of its own.

    Skips the test where PostgreSQL is absent.
    """
    place = next((place for place in _PLACES if (place / "initdb").exists()), None)
    if place is None:
        pytest.skip("no PostgreSQL here: Debian's package postgresql-15 brings it")
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    port = free_block(1)
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's own folders are closed to other users
    try:
        (folder / "password").write_text("p@ss word")
        if user:
            shutil.chown(folder, user)
        cluster = folder / "cluster"
        subprocess.run(
            [place / "initdb", "-D", cluster, "-U", "operator", "--auth=scram-sha-256", f"--pwfile={folder}/password"],
            user=user, cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        control: list[str | Path] = [place / "pg_ctl", "-D", cluster, "-w", "-l", folder / "log"]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
        subprocess.run([*control, "-o", options, "start"], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql://operator:p%40ss%20word@127.0.0.1:{port}"
        finally:
            subprocess.run(
                [*control, "-m", "fast", "stop"], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL
            )
    finally:
        shutil.rmtree(folder)
