"""`tinystyle live` on a virtual display, with a file for a camera."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("av")
pytest.importorskip("cv2")

from tests.support.videos import moving_frames, write_video

SECONDS = 120
WIDTH, HEIGHT = 640, 480


class Display:
    """A display in memory, and what is on it."""

    def __init__(self, folder: Path) -> None:
        reading, writing = os.pipe()
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(folder)]
        self.process = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            self.name = f":{pipe.readline().strip()}"
        self._file = folder / "Xvfb_screen0"

    def pixels(self) -> NDArray[np.uint8]:
        """RGB, from a file in the format of xwd: a header of 32-bit words, the color map, then the rows."""
        data = self._file.read_bytes()
        words = np.frombuffer(data[:100], ">u4")
        offset = int(words[0] + words[19] * 12)
        rows = np.frombuffer(data[offset:], np.uint8)[: HEIGHT * int(words[12])].reshape(HEIGHT, -1, 4)
        return rows[:, :WIDTH, 2::-1]


@pytest.fixture
def display(tmp_path: Path) -> Iterator[Display]:
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb here: Debian's package xvfb brings it")
    (tmp_path / "screen").mkdir()
    found = Display(tmp_path / "screen")
    yield found
    found.process.terminate()
    found.process.wait()


def live(*arguments: str | Path, display: str | None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    if display is not None:
        environment["DISPLAY"] = display
    command = [sys.executable, "-m", "tinystyle", "live", "pretrained:starry-night", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", moving_frames(60, 320, 240), audio=None)


@pytest.mark.slow
def test_the_window_shows_the_stylized_camera_and_ends_with_it(display: Display, clip: Path) -> None:
    process = live("--camera", clip, display=display.name)
    painted = 0.0
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        picture = display.pixels().astype(float)
        # The synthetic photo is colorful everywhere; the painting is blue and yellow, and an empty screen is black.
        painted = max(painted, float(picture.std()))
        time.sleep(0.2)
    output, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, error) == (0, "")
    assert output.startswith("60 frames, ")
    assert painted > 20


@pytest.mark.slow
def test_ctrl_c_ends_it(display: Display, clip: Path) -> None:
    process = live("--camera", clip, "--max-side", "320", display=display.name)
    until = time.monotonic() + SECONDS
    while display.pixels().std() < 20 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=SECONDS)
    assert process.returncode in (0, 130), (output, error)
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("display_name", "camera", "sentence"),
    [
        (None, "0", "there is no display for a window; run it on a desktop, or `tinystyle video` for a file"),
        (":987", "0", "the display :987 does not answer; set DISPLAY to one that is running"),
        ("nonsense", "0", "DISPLAY is nonsense, which names no display; set it to one such as :0"),
    ],
)
def test_without_a_display_it_says_so(display_name: str | None, camera: str, sentence: str) -> None:
    process = live("--camera", camera, display=display_name)
    output, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, output, error) == (2, "", f"Error: {sentence}\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("camera", "sentence"),
    [
        ("97", "--camera 97: there is no such camera; connect one, or give a video file"),
        ("absent.mp4", "--camera absent.mp4: no such file; give the number of a camera, such as 0, or a video"),
    ],
)
def test_without_a_camera_it_says_so(display: Display, camera: str, sentence: str) -> None:
    process = live("--camera", camera, display=display.name)
    output, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, output, error) == (2, "", f"Error: {sentence}\n")
