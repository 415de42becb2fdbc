"""Background processes: found again, ended whole, and nobody else's touched."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.processes import descendants, last_lines, recorded, running, start, stop
from tests.support.places import REPOSITORY

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""
SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "log").mkdir()
    yield tmp_path
    for name in recorded(tmp_path):
        stop(tmp_path, name, patience=0)
    assert not descendants(tmp_path)


def start_python(folder: Path, name: str, program: str, says: str = "") -> psutil.Process:
    """A Python process under `name`; returns once its log says so."""
    process = start(folder, name, [sys.executable, "-c", program], os.environ, folder)
    deadline = time.monotonic() + 20
    while says not in last_lines(folder, name):
        assert time.monotonic() < deadline, last_lines(folder, name)
        time.sleep(0.02)
    return process


def test_what_runs_is_known_to_later_commands(folder: Path) -> None:
    started = start_python(folder, "one", SLEEP)
    ask = f"from infra import processes; from pathlib import Path; print(processes.running(Path({str(folder)!r}), 'one').pid)"
    seen = subprocess.run([sys.executable, "-c", ask], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert int(seen.stdout) == started.pid
    assert running(folder, "two") is None
    assert os.getsid(started.pid) == started.pid, "Ctrl-C in the terminal is not for it"


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_set_hides_no_server(folder: Path, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    started = start_python(folder, "one", SLEEP)
    now, proc = Path("/proc/stat").read_text(), folder / "proc"
    proc.mkdir()
    (proc / str(started.pid)).symlink_to(f"/proc/{started.pid}")
    jumped = re.sub(r"^btime (\d+)", lambda found: f"btime {int(found[1]) + 3600 * hours}", now, flags=re.MULTILINE)
    (proc / "stat").write_text(jumped)  # as the kernel does when the clock is set
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "PROCFS_PATH", str(proc))
        assert running(folder, "one") == started


def test_stop_ends_children_in_sessions_of_their_own(folder: Path) -> None:
    start_python(folder, "one", PARENT.format(child=SLEEP), says="ready")
    other = start_python(folder, "two", SLEEP)
    assert len(descendants(folder, "one")) == 2
    assert stop(folder, "one", patience=0.5)
    assert descendants(folder, "one") == []
    assert running(folder, "two") == other
    assert not stop(folder, "one", patience=5)


def test_what_a_killed_server_left_behind_is_found(folder: Path) -> None:
    parent = start_python(folder, "one", PARENT.format(child=SLEEP), says="ready")
    os.kill(parent.pid, signal.SIGKILL)
    psutil.wait_procs([parent], timeout=10)
    assert running(folder, "one") is None
    assert len(descendants(folder, "one")) == 1
    assert stop(folder, "one", patience=10)
    assert descendants(folder, "one") == []


def test_what_does_not_listen_to_sigterm_is_killed(folder: Path) -> None:
    start_python(folder, "one", STUBBORN, says="deaf")
    began = time.monotonic()
    assert stop(folder, "one", patience=0.5)
    assert time.monotonic() - began < 5
    assert running(folder, "one") is None


def test_a_process_identifier_that_somebody_else_has_now_is_let_be(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as stranger:
        try:
            records = {"one": {"pid": stranger.pid}}
            (folder / "processes.json").write_text(json.dumps(records))
            assert running(folder, "one") is None
            assert not stop(folder, "one", patience=0)
            assert stranger.poll() is None
        finally:
            stranger.kill()
