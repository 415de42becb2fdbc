"""Ingesting in real processes: many, killed, interrupted, and without permission."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.support.badimages import encoded, photograph, png_bomb, save_photographs
from tests.support.files import contents
from tests.support.ingests import ingested, save_mixed_photos
from tests.support.photos import synthetic_photo
from tests.support.processes import command_lines
from tinystyle.data.decode import Unusable
from tinystyle.data.decode_pool import DecodePool
from tinystyle.data.ingest import ingest
from tinystyle.data.shards import ShardDataset


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_mixed_photos(tmp_path_factory.mktemp("ingest") / "photos")


@pytest.fixture(scope="module")
def reference(photos: Path) -> dict[str, bytes]:
    return ingested(photos)


def ignores_interrupts(process: psutil.Process) -> bool:
    ignored = re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return ignored is not None and bool(int(ignored[1], 16) & 1 << (signal.SIGINT - 1))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_an_interrupted_ingest_says_how_to_go_on(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    synthetic_photo(0, 1500, 1000).save(photos / "0.png", compress_level=0)
    for i in range(1, 600):  # links are enough: the same photo is decoded every time
        (photos / f"{i}.png").hardlink_to(photos / "0.png")
    process = subprocess.Popen(
        [sys.executable, "-m", "tinystyle", "ingest", str(photos), str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    command = psutil.Process(process.pid)
    # Until the decoding processes are at work.
    while len(children := command.children(recursive=True)) < 2 or not all(map(ignores_interrupts, children)):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=30)
    said = "Interrupted; what is done is kept, run the same command again to continue\n"
    assert (process.returncode, output, error) == (130, "", said)
    assert not psutil.wait_procs(children, timeout=10)[1]


INGEST = "import sys; from tinystyle.data.ingest import ingest; ingest(*sys.argv[1:3], size=64, photos_per_shard=8)"


@pytest.mark.shared_data
def test_real_photos(shared_data: Path, tmp_path: Path) -> None:
    for photo in sorted((shared_data / "photos").iterdir())[:24]:
        shutil.copy(photo, tmp_path)
    manifest = ingest(str(tmp_path), str(tmp_path.parent / "real"), size=192)
    assert (manifest.count, manifest.quarantined) == (24, [])


def test_result_does_not_depend_on_the_workers(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    ingest(str(photos), str(tmp_path / "out"), size=64, workers=3, photos_per_shard=8)
    assert contents(tmp_path / "out") == reference


def test_killed_at_random_times_the_bytes_are_the_same(
    photos: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dice = random.Random(5)
    kills = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", INGEST, str(photos), str(out)])
        while len(list(out.glob("shard-*"))) < min(2 * kills + 1, 5) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(dice.random() * 0.05)
        workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        assert psutil.wait_procs(workers, timeout=10)[1] == [], "workers outlive the ingest"
    assert kills >= 1
    standing = {name: (out / name).stat().st_mtime_ns for name in contents(out) if name.startswith("shard")}
    ingest(str(photos), str(out), size=64, workers=2, photos_per_shard=8)
    assert contents(out) == reference
    assert standing == {name: (out / name).stat().st_mtime_ns for name in standing}


def test_unreadable_photos_are_tried_again(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    names = save_photographs(photos, 3)
    (photos / names[1]).chmod(0)
    command = [sys.executable, "-c", INGEST, str(photos), str(out)]
    if os.geteuid() == 0:  # whom permissions do not bind
        without = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
        if shutil.which("setpriv") is None or subprocess.run([*command[:3], "true"], check=False).returncode:
            pytest.skip("root cannot give up reading what it likes here")
    first = b""
    for _ in range(2):
        subprocess.run(command, check=True)
        manifest = ShardDataset(out).manifest
        assert [(entry.name, entry.reason) for entry in manifest.quarantined] == [
            (names[1], "unreadable: permission denied")
        ]
        assert manifest.to_json() == (first or manifest.to_json())
        first = manifest.to_json()
    (photos / names[1]).chmod(0o600)
    manifest = ingest(str(photos), str(out), size=64)
    assert (manifest.count, manifest.quarantined, len(manifest.shards)) == (3, [], 2)


def test_a_worker_that_dies_costs_nothing(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    def kill_once(done: int, _total: int, _quarantined: int) -> None:
        if done == 10:
            assert _kill_workers()

    ingest(str(photos), str(tmp_path / "out"), size=64, workers=2, photos_per_shard=8, progress=kill_once)
    assert contents(tmp_path / "out") == reference


def test_a_photo_that_crashes_the_decoder_is_refused() -> None:
    done = threading.Event()

    def kill_all() -> None:
        while not done.wait(0.01):
            _kill_workers()

    with DecodePool(1) as pool:
        killer = threading.Thread(target=kill_all)
        killer.start()
        try:
            with pytest.raises(Unusable, match="decoder crashed"):
                pool.prepare(png_bomb(12_000, rows=12_000), 64)
        finally:
            done.set()
            killer.join()
        assert pool.prepare(encoded(photograph(1), "JPEG"), 64).height == 64


def _kill_workers() -> int:
    children = command_lines(psutil.Process().children())
    workers = [child for child, command in children if "spawn_main" in " ".join(command)]
    for worker in workers:
        worker.kill()
    return len(workers)


@pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")
def test_decoding_processes_use_their_memory_again() -> None:
    """A page that went back to the system and came again is a fault; a photo of 640x480 is 225 pages."""
    script = """
import resource
from tests.support.badimages import encoded, photograph
from tinystyle.data.decode import prepare_photo
from tinystyle.data.processes import keep_freed_memory
keep_freed_memory()
photo = encoded(photograph(0, 640, 480), "JPEG")
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    prepare_photo(photo, 256)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(faults) < 50
