"""`tinystyle video` as a user meets it, killed and resumed included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("av")

from tests.support.models import save_untrained
from tests.support.videos import moving_frames, read_frames, write_video

SECONDS = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_untrained(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of 130 frames: four parts and a bit."""
    folder = tmp_path_factory.mktemp("clip")
    return write_video(folder / "clip.mp4", moving_frames(130, 160, 120) + moving_frames(130, 160, 120, photo=5))


@pytest.fixture(scope="module")
def undisturbed(model: str, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    results = {}
    for suffix in (".mp4", ".mkv"):
        out = folder / f"out{suffix}"
        done = subprocess.run(command(model, clip, out), capture_output=True, text=True, check=False, timeout=SECONDS)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
        assert sorted(folder.glob(".*")) == []
        results[suffix] = out.read_bytes()
    return results


def command(model: str, clip: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tinystyle", "video", model, str(clip), "--out", str(out), *more]


def stopped_after(parts: int, number: int, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Start a command, and send a signal as soon as so many parts are complete."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + SECONDS
    while len(list(folder.glob("*.nut"))) < parts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(number)
    output, error = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(arguments, process.returncode, output, error)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    model: str, clip: Path, undisturbed: dict[str, bytes], tmp_path: Path, suffix: str
) -> None:
    out, folder = tmp_path / f"out{suffix}", tmp_path / f".out{suffix}.parts"
    for parts in (1, 3):
        killed = stopped_after(parts, signal.SIGKILL, command(model, clip, out), folder)
        assert killed.returncode == -signal.SIGKILL
        assert not out.exists()
    kept = {path: path.stat().st_ino for path in folder.glob("*.nut")}
    assert len(kept) >= 3
    resumed = subprocess.run(command(model, clip, out), capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (resumed.returncode, resumed.stdout) == (0, f"{out}\n")
    assert resumed.stderr.startswith(f"Resuming after frame {60 * len(kept)}\n")
    assert out.read_bytes() == undisturbed[suffix]
    assert list(tmp_path.iterdir()) == [out]
    assert len(read_frames(out)) == 260


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_asked_to_stop_it_keeps_what_is_done(model: str, clip: Path, tmp_path: Path, number: int, code: int) -> None:
    out, folder = tmp_path / "out.mp4", tmp_path / ".out.mp4.parts"
    stopped = stopped_after(1, number, command(model, clip, out), folder)
    assert stopped.returncode == code
    assert stopped.stderr == "Interrupted; what is done is kept, run the same command again to continue\n"
    assert not list(folder.glob("*.tmp"))
    assert not list(folder.glob(".*.tmp"))
    other = subprocess.run(
        command(model, clip, out, "--strength", "0.5"), capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert other.returncode == 2
    assert other.stderr.startswith(f"Error: {folder}: holds parts of an interrupted run with --strength 1.0, not 0.5; ")
    assert list(folder.glob("*.nut"))


@pytest.mark.slow
def test_two_at_once_do_not_mix(model: str, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    first = subprocess.Popen(command(model, clip, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + SECONDS
        while not list((tmp_path / ".out.mp4.parts").glob("*.nut")):
            assert time.monotonic() < until
            time.sleep(0.005)
        os.kill(first.pid, signal.SIGSTOP)
        second = subprocess.run(command(model, clip, out), capture_output=True, text=True, check=False, timeout=SECONDS)
        assert second.returncode == 2
        assert "another process is making this video; wait until it ends" in second.stderr
    finally:
        first.kill()
        first.communicate()
        first.communicate()
