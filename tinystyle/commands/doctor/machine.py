"""Checks of this machine: Python and packages, GPU, disk. No network."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import tinystyle
from tinystyle.commands.doctor.findings import Finding, fail, ok, skipped, warn
from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["disk", "disk_of", "gpu", "packages"]

PYTHON = ((3, 11), (3, 12))
"""Oldest and newest Python on which the tests have run."""
CACHE_BYTES, SCRATCH_BYTES = 10 * 10**9, 2 * 10**9
"""Free space below which a warning is given, for datasets and for temporary files."""
FULL_BYTES = 200 * 10**6
"""Free space below which the next run would fail."""
CONSTRAINTS = Path(tinystyle.__file__).parents[1] / "constraints.txt"
_INSTALL = "run `make install`, or pip install with --constraint constraints.txt"


def packages(constraints: Path = CONSTRAINTS) -> Iterator[Finding]:
    """Compare Python and the installed packages with what tinystyle requires, and with the pins of a checkout."""
    version = sys.version_info[:2]
    text = f"Python {version[0]}.{version[1]}"
    if PYTHON[0] <= version <= PYTHON[1]:
        yield ok("versions", text)
    else:
        yield fail("versions", f"{text} is not supported", "use Python 3.11 or 3.12")
    required = map(Requirement, metadata.requires("tinystyle") or [])
    wrong = sorted({problem for each in required if (problem := _conflict(each))})
    for problem in wrong:
        yield fail("versions", problem, _INSTALL)
    if not constraints.is_file():
        yield skipped("versions", "no constraints.txt, as in an installation without a checkout")
        return
    pins = ((name, pin, _installed(name)) for name, pin in _pins(constraints))
    # Without the local part of a version, which says how a package was built: 2.13.0+cpu.
    other = [f"{name} {has} (tested: {pin})" for name, pin, has in pins if has and Version(has).public != pin]
    if other:
        more = f" and {len(other) - 4} more" if len(other) > 4 else ""
        yield warn("versions", f"other versions than those tested: {', '.join(other[:4])}{more}", _INSTALL)
    elif not wrong:
        yield ok("versions", "packages are those of constraints.txt")


def _conflict(required: Requirement) -> str | None:
    """Return why an installed package does not fit; an absent one only matters if it is not part of an extra."""
    optional = required.marker is not None and not required.marker.evaluate({"extra": ""})
    has = _installed(required.name)
    if has is None:
        return None if optional else f"{required.name} is not installed"
    if required.specifier.contains(has, prereleases=True):
        return None
    return f"{required.name} {has} does not fit ({required.specifier})"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pins(constraints: Path) -> Iterator[tuple[str, str]]:
    for line in constraints.read_text().splitlines():
        name, equals, version = line.partition(";")[0].partition("#")[0].strip().partition("==")
        if equals:
            yield canonicalize_name(name.partition("[")[0]), version.split()[0]


def gpu() -> Iterator[Finding]:
    """Check that torch sees the GPUs that the driver sees, and computes on one, in bfloat16 too."""
    driver, names = _driver()
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        if not names:
            yield skipped("gpu", "no NVIDIA GPU here; trainings use the CPU")
        elif visible is not None and not visible.strip(" -1"):
            yield warn(
                "gpu", f"CUDA_VISIBLE_DEVICES={visible} hides {', '.join(names)}", "unset it to train on the GPU"
            )
        else:
            built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
            text = f"driver {driver} sees {', '.join(names)}, torch ({built}) sees no GPU"
            yield fail("gpu", text, "install a torch that is built for a CUDA which this driver supports")
        return
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        label = f"GPU {index}: {about.name}, driver {driver or 'unknown'}"
        try:
            free, total = torch.cuda.mem_get_info(index)
            torch.ones(64, 64, device=f"cuda:{index}").square().sum().item()
        except RuntimeError as error:
            text = " ".join(str(error).split())[:200]
            yield fail(
                "gpu", f"{label} does not compute: {text}", "free the GPU, or choose another: CUDA_VISIBLE_DEVICES"
            )
            continue
        memory = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        if torch.cuda.is_bf16_supported(including_emulation=False):
            yield ok("gpu", f"{label}, {memory}, bfloat16")
        else:
            yield warn("gpu", f"{label}, {memory}, has no bfloat16", "expect trainings to be slower; they use float32")


def _driver() -> tuple[str, list[str]]:
    """Return the driver's version and the names of its GPUs; nothing where there is no driver."""
    try:
        import pynvml
    except ImportError:
        return "", []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return "", []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return str(pynvml.nvmlSystemGetDriverVersion()), [str(pynvml.nvmlDeviceGetName(each)) for each in handles]
    except pynvml.NVMLError:
        return "", []
    finally:
        pynvml.nvmlShutdown()


def disk(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the cache and the folder of temporary files can be written to and have room."""
    cache = environment.get("TINYSTYLE_CACHE")
    try:
        folder = Path(cache) if cache else storage.cache_dir()
        yield disk_of("cache", folder, CACHE_BYTES, "TINYSTYLE_CACHE")
    except OSError as error:
        yield fail("disk", f"cache: {error.filename}: {error.strerror}", "set TINYSTYLE_CACHE to a folder of yours")
    try:
        yield disk_of("temporary files", Path(tempfile.gettempdir()), SCRATCH_BYTES, "TMPDIR")
    except OSError as error:
        yield fail("disk", f"no folder for temporary files can be written to: {error}", "set TMPDIR to one with room")


def disk_of(what: str, folder: Path, wanted: int = CACHE_BYTES, variable: str = "") -> Finding:
    """Check that `folder` can be written to and has `wanted` bytes of room; `variable` names another folder, if any."""
    elsewhere = f", or set {variable} to a folder on another disk" if variable else ""
    try:
        storage.check_writable(folder)
    except UserError as error:
        return fail("disk", f"{what}: {str(error).partition(';')[0]}", f"make room or mend its rights{elsewhere}")
    free = shutil.disk_usage(folder).free
    text = f"{what}: {folder} has {free / 1e9:.1f} GB free"
    if free < FULL_BYTES:
        return fail("disk", text, f"make room{elsewhere}")
    return warn("disk", text, f"make room{elsewhere}") if free < wanted else ok("disk", text)
