"""What stylizing takes, against what the system says of processes that do it."""

import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
    refused = python("-c", LIMITED, 8 * 10**9, "stylize", johnson, photo, "--out", out, "--tile", "off")
    assert refused.returncode == 2
    assert re.fullmatch(
        r"Error: \S+photo\.png: 6000x4000 pixels need 17\.\d GB of memory, and \d\.\d GB are free; "
        r"scale it down with --max-side \d+ or leave out --tile\n",
        refused.stderr,
    )
    tiny = saved(tmp_path, "small", 0.05)
    command = ["-c", LIMITED, 600 * 10**6, "stylize", tiny, photo, "--out", out, "--tile", "off"]
    refused = python(*command)
    side = re.search(r"--max-side (\d+) or leave out --tile$", refused.stderr)
    assert refused.returncode == 2
    assert side
    assert not out.exists()
    done = python(*command, "--max-side", side[1])
    assert done.returncode == 0, done.stderr
    with Image.open(out / "photo.png") as image:
        assert max(image.size) == int(side[1]) > 2000


# A process counts as its own the memory of the one that it was forked from, such as a test's that made the picture.
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*arguments: str | Path) -> int:
    """Return the maximum resident bytes of the command `tinystyle stylize`, which must succeed."""
    command = [sys.executable, "-m", "tinystyle", "stylize", *map(str, arguments)]
    done = subprocess.run([sys.executable, "-c", _PEAK, *command], capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1]) * 1024


@linux
@pytest.mark.long
@pytest.mark.timeout(900)
def test_24_megapixels_as_a_whole_within_6_gigabytes(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    synthetic_photo(1, 600, 400).resize((6000, 4000)).save(photo)
    small = saved(tmp_path, "small", 0.3)
    assert peak(small, photo, "--out", tmp_path / "out", "--keep-colors", "--tile", "off") < 6 * 10**9
    with Image.open(tmp_path / "out" / "photo.png") as image:
        assert image.size == (6000, 4000)


@linux
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("size", "architecture", "alpha", "source", "result", "options"),
    [
        # Minutes: with `make e2e`.
        pytest.param(
            (12248, 8165), "small", 0.3, "photo.jpg", "out.jpg", (), marks=[pytest.mark.platform, pytest.mark.e2e]
        ),
        pytest.param(
            *((6000, 4000), "small", 0.3, "photo.png", "out.png"),
            ("--keep-colors", "--strength", "0.8", "--tile", "512"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *((6000, 4000), "johnson", 1.0, "photo.jpg", "out.tif"),
            ("--stroke-size", "8", "--tile", "128"),
            marks=pytest.mark.long,
        ),
    ],
)
def test_item_11_100_and_24_megapixels_within_600_megabytes(
    size: tuple[int, int],
    architecture: str,
    alpha: float,
    source: str,
    result: str,
    options: tuple[str, ...],
    tmp_path: Path,
) -> None:
    image = synthetic_photo(1, 600, 400).resize(size)
    exif = Image.Exif()
    exif[0x0112] = 6
    if source.endswith(".png"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / source, exif=exif, compress_level=1)
    del image
    model = saved(tmp_path, architecture, alpha)
    assert peak(model, tmp_path / source, "--out", tmp_path / result, *options) < 600e6
    with open_any_size(tmp_path / result) as stylized:
        assert stylized.size == size[::-1]
        assert stylized.mode == ("RGBA" if source.endswith(".png") else "RGB")


@contextmanager
def open_any_size(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            yield image
