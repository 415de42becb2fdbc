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
from time import monotonic

import psutil
import pytest

from tinystyle.errors import UserError
from tinystyle.training.lease import LEASE_FILE, Lease, _began, _processes, held, owned

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
    _left(tmp_path, began=f"{float(_began(psutil.Process())) - 60:.2f}")
    with owned(str(tmp_path), "next", seconds=60) as lease:  # the process has that number only by chance
        assert lease.number == 2


@pytest.mark.parametrize("elsewhere", ["another start of the machine", "another namespace"])
def test_i6_a_process_elsewhere_is_not_taken_for_dead_because_none_here_has_its_number(
    elsewhere: str, tmp_path: Path
) -> None:
    boot, namespace = _processes().split()
    there = {"another start of the machine": f"{'0' * len(boot)} {namespace}", "another namespace": f"{boot} pid:[1]"}
    _left(tmp_path, processes=there[elsewhere], process=2**22 + 1)  # Linux has no process with that number
    began, waited = monotonic(), list[str]()
    with held(str(tmp_path), "next", seconds=SHORT, waiting=waited.append):
        assert monotonic() - began >= SHORT
    assert len(waited) == 1


def _left(folder: Path, **changes: object) -> None:
    """Leave a lease of this process, but for `changes`."""
    state = {"number": 1, "run": "before", "machine": socket.gethostname(), "processes": _processes()}
    state |= {"process": os.getpid(), "began": _began(psutil.Process()), **changes}
    (folder / LEASE_FILE).write_text(json.dumps(state))


def test_one_that_was_replaced_learns_of_it(tmp_path: Path) -> None:
    again = owned(str(tmp_path), "first", seconds=60)  # the same run, started again elsewhere
    with owned(str(tmp_path), "first", seconds=SHORT) as lease, again as restarted:
        assert restarted.number == 2
        assert lease.lost.wait(10)
        assert json.loads((tmp_path / LEASE_FILE).read_text())["number"] == 2


def test_i6_a_damaged_lease_blocks_nobody_for_longer_than_a_silent_owner(tmp_path: Path) -> None:
    (tmp_path / "0007").mkdir()
    (tmp_path / "0007" / "run.json").write_text("{}")
    (tmp_path / LEASE_FILE).write_text("{")
    with owned(str(tmp_path), "run", seconds=SHORT) as lease:
        assert lease.number == 8, "a late writer of folder 7 harms nobody"


def test_i6_a_living_owner_is_refused_at_once_by_a_command(tmp_path: Path) -> None:
    with (
        held(str(tmp_path), "first", seconds=60) as lost,
        pytest.raises(UserError, match=rf"{tmp_path} is in use by first .* on .*; wait until it ends"),
        held(str(tmp_path), "second", seconds=60),
    ):
        pass
    assert not lost.is_set()
    with held(str(tmp_path), "third", seconds=60, waiting=lambda who: pytest.fail(who)):
        pass


def test_i6_an_owner_elsewhere_is_refused_once_it_shows_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str] = []
    with held(str(tmp_path), "first", seconds=2):
        monkeypatch.setattr("tinystyle.training.lease._processes", lambda: "elsewhere")
        with (
            pytest.raises(UserError, match="is in use by first"),
            held(str(tmp_path), "second", seconds=2, waiting=waited.append),
        ):
            pass
    assert len(waited) == 1


def test_i6_an_owner_elsewhere_that_stays_silent_is_replaced(tmp_path: Path) -> None:
    _stalled(tmp_path)
    with held(str(tmp_path), "next", seconds=SHORT) as lost:
        assert not lost.is_set()
        assert json.loads((tmp_path / LEASE_FILE).read_text())["number"] == 2


def test_a_place_without_conditional_writes_is_refused() -> None:
    with pytest.raises(UserError, match="memory://"), owned("memory://there", "run"):
        pass
