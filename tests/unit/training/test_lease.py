"""A lease on checkpoints: one owner, taken over from the dead, and no late writer overwrites anything."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tinystyle.errors import UserError
from tinystyle.training.lease import LEASE_FILE, Lease, _began, owned

SHORT = 0.4
"""Seconds after which a lease in these tests may be taken over."""


def _save(lease: Lease, text: str) -> None:
    for name in ("last.ckpt", "run.json"):
        (Path(lease.folder) / name).parent.mkdir(exist_ok=True)
        (Path(lease.folder) / name).write_text(text)


def _stalled(place: Path) -> None:
    """An owner on another machine that does not renew its lease any more."""
    state = {"number": 1, "run": "stalled", "machine": "elsewhere", "process": 1, "began": "", "renewal": "x"}
    (place / LEASE_FILE).write_text(json.dumps(state))


def test_the_next_owner_finds_the_checkpoints_of_the_one_before(tmp_path: Path) -> None:
    for number, text in enumerate(("first", "second", "third"), start=1):
        with owned(str(tmp_path), f"run {number}") as lease:
            assert lease.number == number
            folder = Path(lease.folder)
            before = (folder / "last.ckpt").read_text() if number > 1 else None
            assert before == {1: None, 2: "first", 3: "second"}[number]
            _save(lease, text)
    assert not list((tmp_path / "0001").glob("*"))  # two owners back
    assert (tmp_path / "0002" / "last.ckpt").read_text() == "second"


def test_an_owner_that_wrote_nothing_is_passed_over(tmp_path: Path) -> None:
    with owned(str(tmp_path), "first") as lease:
        _save(lease, "first")
    with owned(str(tmp_path), "second") as lease:
        for name in ("last.ckpt", "run.json"):
            (Path(lease.folder) / name).unlink()
    with owned(str(tmp_path), "third") as lease:
        assert (Path(lease.folder) / "last.ckpt").read_text() == "first"


def test_a_second_run_waits_until_the_first_has_ended(tmp_path: Path) -> None:
    inside = threading.Event()
    waited: list[str] = []

    def second() -> bool:
        with owned(str(tmp_path), "second", seconds=SHORT, waiting=waited.append):
            return inside.is_set()

    with ThreadPoolExecutor(1) as pool:
        with owned(str(tmp_path), "first", seconds=SHORT) as lease:
            result = pool.submit(second)
            assert not lease.lost.wait(4 * SHORT)  # a renewed lease is not taken over, however long it lasts
            assert not result.done()
            inside.set()
        assert result.result(timeout=10)
    assert len(waited) == 1
    assert waited[0].startswith("first on ")


def test_of_many_at_once_each_has_it_alone(tmp_path: Path) -> None:
    holding = threading.Lock()
    numbers = []

    def own(number: int) -> None:
        with owned(str(tmp_path), f"run {number}", seconds=5) as lease:
            assert holding.acquire(blocking=False)
            numbers.append(lease.number)
            holding.release()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(own, range(4)))
    assert numbers == [1, 2, 3, 4]


def test_one_that_is_silent_is_replaced_and_cannot_overwrite(tmp_path: Path) -> None:
    _stalled(tmp_path)
    with owned(str(tmp_path), "next", seconds=SHORT) as lease:
        assert lease.number == 2
        assert Path(lease.folder).name == "0002"  # the silent one still writes to 0001


@pytest.mark.parametrize("hours", [1, -1])
def test_a_living_owner_is_not_taken_for_dead_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    stat = Path("/proc/stat").read_text()
    (tmp_path / "proc" / "stat").write_text(stat)
    with owned(str(tmp_path / "place"), "first", seconds=60):
        before = psutil.Process().create_time()
        jumped = re.sub(
            r"^btime (\d+)", lambda found: f"btime {int(found[1]) + 3600 * hours}", stat, flags=re.MULTILINE
        )
        (tmp_path / "proc" / "stat").write_text(jumped)  # as the kernel does when the clock is set
        assert psutil.Process().create_time() == pytest.approx(before + 3600 * hours)
        told = threading.Event()
        with (
            pytest.raises(TimeoutError),
            owned(str(tmp_path / "place"), "second", seconds=60, waiting=_giving_up(told)),
        ):
            pass
    assert told.is_set()


def _giving_up(told: threading.Event) -> Callable[[str], None]:
    def give_up(_who: str) -> None:
        told.set()
        raise TimeoutError

    return give_up


def test_an_owner_that_died_is_replaced_at_once(tmp_path: Path) -> None:
    boot, seconds = _began(psutil.Process()).split()
    for began in (f"{boot} {float(seconds) - 60:.2f}", f"another-start-of-the-machine {seconds}"):
        dead = {"number": 1, "run": "dead", "machine": socket.gethostname(), "process": os.getpid(), "began": began}
        (tmp_path / LEASE_FILE).write_text(json.dumps(dead))
        with owned(str(tmp_path), "next", seconds=60) as lease:  # the process has that number only by chance
            assert lease.number == 2


def test_one_that_was_replaced_learns_of_it(tmp_path: Path) -> None:
    again = owned(str(tmp_path), "first", seconds=60)  # the same run, started again elsewhere
    with owned(str(tmp_path), "first", seconds=SHORT) as lease, again as restarted:
        assert restarted.number == 2
        assert lease.lost.wait(10)
        assert json.loads((tmp_path / LEASE_FILE).read_text())["number"] == 2


def test_a_damaged_lease_is_named(tmp_path: Path) -> None:
    (tmp_path / LEASE_FILE).write_text("{")
    with pytest.raises(UserError, match=LEASE_FILE), owned(str(tmp_path), "run"):
        pass


def test_a_place_without_conditional_writes_is_refused() -> None:
    with pytest.raises(UserError, match="memory://"), owned("memory://there", "run"):
        pass
