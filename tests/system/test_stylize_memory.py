"""What stylizing takes, against what the system says of processes that do it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.model_file import save_model
from tinystyle.nets import build_network

MEASURE = """
import resource, sys
import torch
from pathlib import Path
from tinystyle.nets.blocks import MARGIN
from tinystyle.stylize import open_model
from tinystyle.stylize.memory import peak_bytes
from tinystyle.stylize.render import run
model = open_model(sys.argv[1])
photo = lambda side: torch.zeros(side, side, 3, dtype=torch.uint8)
run(model, photo(64))
resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
side = int(sys.argv[2])
run(model, photo(side))
# Not ru_maxrss, which a process has from the one that started it.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
grown = int(peak.split()[1]) * 1024 - resident
print(grown, peak_bytes(lambda: run(model, photo(256))) / (256 + 2 * MARGIN) ** 2 * (side + 2 * MARGIN) ** 2)
"""
# Runs the command with so many bytes of address space to take.
LIMITED = """
import resource, sys
import torch
from pathlib import Path
import tinystyle.stylize
from tinystyle.commands import app as cli
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + int(sys.argv.pop(1)),) * 2)
cli.main()
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def saved(folder: Path, architecture: str, alpha: float) -> str:
    config = NetworkConfig(architecture=architecture, alpha=alpha)
    save_model(build_network(config.architecture, config.alpha), folder / "model.safetensors", config, {})
    return str(folder / "model.safetensors")


def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)


@linux
@pytest.mark.long
@pytest.mark.parametrize(
    ("architecture", "alpha", "side"),
    [("small", 0.3, 1600), ("johnson", 0.5, 700)],
)
def test_the_estimate_is_what_the_process_grows_by(tmp_path: Path, architecture: str, alpha: float, side: int) -> None:
    measured = python("-c", MEASURE, saved(tmp_path, architecture, alpha), str(side))
    assert measured.returncode == 0, measured.stderr
    grown, estimate = map(float, measured.stdout.split())
    # The C library keeps some of what was freed in pieces of up to 32 MB, whatever the photo.
    assert 0.9 * estimate < grown < 1.05 * estimate + 200e6


@linux
@pytest.mark.long
def test_what_does_not_fit_is_refused_and_the_side_it_names_fits(tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    synthetic_photo(1, 60, 40).resize((6000, 4000)).save(photo, compress_level=1)
    johnson = saved(tmp_path, "johnson", 1.0)
    refused = python("-c", LIMITED, 8 * 10**9, "stylize", johnson, photo, "--out", out)
    assert refused.returncode == 2
    assert re.fullmatch(
        r"Error: \S+photo\.png: 6000x4000 pixels need 17\.\d GB of memory, and \d\.\d GB are free; "
        r"scale it down with --max-side \d+\n",
        refused.stderr,
    )
    tiny = saved(tmp_path, "small", 0.05)
    command = ["-c", LIMITED, 600 * 10**6, "stylize", tiny, photo, "--out", out]
    refused = python(*command)
    side = re.search(r"--max-side (\d+)$", refused.stderr)
    assert refused.returncode == 2
    assert side
    assert not list(out.iterdir())
    done = python(*command, "--max-side", side[1])
    assert done.returncode == 0, done.stderr
    with Image.open(out / "photo.png") as image:
        assert max(image.size) == int(side[1]) > 2000


@linux
@pytest.mark.long
@pytest.mark.timeout(900)
def test_24_megapixels_within_6_gigabytes(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    synthetic_photo(1, 600, 400).resize((6000, 4000)).save(photo)
    command = [
        "-m",
        "tinystyle.commands.app",
        "stylize",
        saved(tmp_path, "small", 0.3),
        str(photo),
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen([sys.executable, *command, "--keep-colors"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss * 1024 < 6 * 10**9
    with Image.open(tmp_path / "photo.png") as image:
        assert image.size == (6000, 4000)
