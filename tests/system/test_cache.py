"""Real processes on one cache, datasets from a real HTTP server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.badimages import save_photographs
from tests.support.servers import serving
from tinystyle.data.cache import size_limit
from tinystyle.data.ingest import dataset_for_training, ingest
from tinystyle.data.shards import ShardDataset, sync
from tinystyle.errors import UserError

SYNC = """
import sys
from tinystyle.data.shards import ShardDataset, sync
try:
    path = sync(sys.argv[1])
    ShardDataset(path).verify()
    print(path, flush=True)
except (ValueError, OSError) as error:
    print(error, flush=True)
sys.stdin.read()
"""
OPEN = """
import sys
from pathlib import Path
from tinystyle.data.shards import ShardDataset
dataset = ShardDataset(Path(sys.argv[1]))
print(dataset.path, flush=True)
sys.stdin.read()
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Address below which datasets a, b, c and d lie, and the bytes of one of them, near enough."""
    root = tmp_path_factory.mktemp("datasets")
    photos = root / "photos"
    save_photographs(photos, 12)
    for name in "abcd":
        ingest(str(photos), str(root / name), size=96, workers=1, photos_per_shard=4)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))) as address:
        yield address, sum(path.stat().st_size for path in (root / "a").iterdir())


class Processes:
    """Processes that share a cache of a given size, and each use what they print until they are told to end."""

    def __init__(self, cache: Path, limit: float) -> None:
        self.environment = os.environ | {"TINYSTYLE_CACHE": str(cache), "TINYSTYLE_CACHE_MAX_GB": f"{limit / 1e9:.9f}"}
        self.running: list[subprocess.Popen[str]] = []

    def start(self, code: str, argument: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, argument],
            env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.running.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def end(self, process: subprocess.Popen[str]) -> None:
        process.communicate()
        self.running.remove(process)
        assert process.returncode == 0

    def done(self, uri: str) -> str:
        """What a process says that syncs and ends."""
        process = self.start(SYNC, uri)
        said = self.said(process)
        self.end(process)
        return said


@pytest.fixture
def processes(server: tuple[str, int], tmp_path: Path) -> Iterator[Processes]:
    """On a cache that has room for two datasets, not for three."""
    processes = Processes(tmp_path / "cache", 2.5 * server[1])
    yield processes
    for process in processes.running:
        process.kill()
        process.communicate()


def cached(processes: Processes) -> list[str]:
    folder = Path(processes.environment["TINYSTYLE_CACHE"]) / "datasets"
    return sorted(path.name[0] for path in folder.iterdir())


def test_the_least_recently_used_goes_first(server: tuple[str, int], processes: Processes) -> None:
    for name, left in (("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "ac"), ("b", "bc")):
        assert Path(processes.done(f"{server[0]}/{name}")).name.startswith(name)
        assert cached(processes) == list(left)


def test_what_is_in_use_stays(server: tuple[str, int], processes: Processes) -> None:
    user = processes.start(SYNC, f"{server[0]}/a")
    folder = processes.said(user)
    processes.done(f"{server[0]}/b")
    processes.done(f"{server[0]}/c")
    assert cached(processes) == ["a", "c"], "b was used later than a"
    reader = processes.start(OPEN, folder)  # as a training process whose launcher ends
    assert processes.said(reader) == folder
    processes.end(user)
    processes.done(f"{server[0]}/d")
    assert cached(processes) == ["a", "d"]
    processes.end(reader)
    processes.done(f"{server[0]}/b")
    assert cached(processes) == ["b", "d"]


def test_no_room_beside_what_is_in_use(server: tuple[str, int], processes: Processes) -> None:
    users = [processes.start(SYNC, f"{server[0]}/{name}") for name in "ab"]
    for user in users:
        assert processes.said(user).startswith("/")
    assert "c does not fit into the cache: datasets that other processes use leave" in processes.done(f"{server[0]}/c")
    assert cached(processes) == ["a", "b"]
    users[0].kill()  # a lock ends with its process
    users[0].wait()
    assert Path(processes.done(f"{server[0]}/c")).name.startswith("c")
    assert cached(processes) == ["b", "c"]


def test_larger_than_the_cache(server: tuple[str, int], tmp_path: Path) -> None:
    processes = Processes(tmp_path / "cache", server[1] / 2)
    said = processes.done(f"{server[0]}/a")
    assert said.startswith(f"{server[0]}/a takes ")
    assert said.endswith(" GB at most; set TINYSTYLE_CACHE_MAX_GB to more, or ingest fewer photos")
    assert cached(processes) == []


def test_many_at_once_keep_the_limit(server: tuple[str, int], processes: Processes) -> None:
    started = [processes.start(SYNC, f"{server[0]}/{name}") for name in "abcdabcd"]
    said = [processes.said(process) for process in started]
    fetched = {text for text in said if text.startswith("/")}
    assert len(fetched) == 2, said
    assert all("does not fit into the cache" in text for text in said if text not in fetched)
    assert cached(processes) == sorted(Path(text).name[0] for text in fetched)
    sizes = [sum(file.stat().st_size for file in Path(text).iterdir()) for text in fetched]
    assert sum(sizes) <= 2.5 * server[1]


def test_ingested_photos_count_too(
    server: tuple[str, int], tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TINYSTYLE_CACHE", "TINYSTYLE_CACHE_MAX_GB"):
        monkeypatch.setenv(name, processes.environment[name])
    save_photographs(tmp_path / "photos", 12)
    processes.done(f"{server[0]}/a")
    processes.done(f"{server[0]}/b")
    folder = dataset_for_training(str(tmp_path / "photos"), 96)
    assert cached(processes) == ["b"]
    assert len(ShardDataset(folder)) == 12
    processes.done(f"{server[0]}/c")
    assert folder.is_dir(), "this process uses it"
    assert cached(processes) == ["c"]


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf"])
def test_a_limit_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch, server: tuple[str, int]) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE_MAX_GB", text)
    with pytest.raises(UserError, match=r"TINYSTYLE_CACHE_MAX_GB"):
        sync(f"{server[0]}/a")
    monkeypatch.delenv("TINYSTYLE_CACHE_MAX_GB")
    assert size_limit() == 100_000_000_000
