"""scripts/check_on_mac.sh: what of it runs anywhere, and its own logic with Apple's tools played by scripts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "check_on_mac.sh"
Run = Callable[..., subprocess.CompletedProcess[str]]

# Files whose name holds "broken" fail; the compiled checker prints its arguments and fails on "slow" ones.
XCRUN = """#!/bin/bash
case "$*" in
--find*coremlcompiler) [ -z "${NO_XCODE-}" ] ;;
--find* | *--show-sdk-path) ;;
*-typecheck*) [[ "$*" != *broken* ]] ;;
coremlcompiler*) [[ "$3" != *broken* && -d "$4" ]] || { echo "no model"; exit 1; } ;;
swiftc*) printf '%s\\n' '#!/bin/bash' 'printf "<%s>" "$@"; echo; [[ "$*" != *slow* ]]' >"${!#}"; chmod +x "${!#}" ;;
*) echo "unexpected: $*"; exit 1 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model of each format and a space in its name."""
    folder = tmp_path / "two models"
    (folder / "a b.mlpackage").mkdir(parents=True)
    (folder / "a b.mlmodel").touch()
    return folder


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


@pytest.fixture
def run_on_mac(tmp_path: Path) -> Run:
    """Runs the script where uname says Darwin and xcrun is XCRUN."""
    tools = tmp_path / "bin"
    tools.mkdir()
    scripts = {"uname": "#!/bin/bash\necho Darwin\n", "sw_vers": "#!/bin/bash\necho 15.0\n", "xcrun": XCRUN}
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def run_there(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, PATH=f"{tools}:/usr/bin:/bin", **environment)

    return run_there


def test_bash_and_shellcheck_find_no_fault() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True).stderr == b""
    if linter := shutil.which("shellcheck"):
        assert subprocess.run([linter, str(SCRIPT)], capture_output=True, text=True).stdout == ""


@pytest.mark.skipif(sys.platform == "darwin", reason="on a Mac the script runs")
def test_elsewhere_it_says_that_it_needs_a_mac(folder: Path) -> None:
    done = run(folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: Core ML runs on macOS only, and this is Linux; run this script on a Mac\n"


def test_wrong_arguments_are_refused_before_anything_else(folder: Path, tmp_path: Path) -> None:
    cases = (
        ((), "give a folder"),
        ((tmp_path / "none",), "none: no such folder"),
        ((tmp_path,), "holds no .mlmodel or .mlpackage"),
        ((folder, tmp_path / "none.jpg"), "none.jpg: no such photograph"),
        (("--repeats", "0", folder), "--repeats 0: give a number"),
        (("--repeats",), "--repeats : give a number"),
        (("--fast", folder), "there is no option --fast"),
    )
    for arguments, expected in cases:
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith("Error: ")
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1


def test_help_is_no_error() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: check_on_mac.sh")


def test_every_file_and_photo_reaches_the_checker(folder: Path, tmp_path: Path, run_on_mac: Run) -> None:
    photo = tmp_path / "my photo.jpg"
    photo.touch()
    done = run_on_mac("--repeats", 7, f"{folder}/", photo)
    assert done.stderr == ""
    assert done.returncode == 0
    assert f"<7><{folder}/a b.mlmodel><{folder}/a b.mlpackage><--><{photo}>" in done.stdout
    assert done.stdout.splitlines()[-1] == "PASS: 2 Core ML files, 0 Swift files"


def test_without_photos_and_without_xcode_it_still_runs(folder: Path, run_on_mac: Run) -> None:
    done = run_on_mac(folder, NO_XCODE="1")
    assert f"<20><{folder}/a b.mlmodel><{folder}/a b.mlpackage><-->\n" in done.stdout
    assert "No coremlcompiler" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("broken.mlmodel", "broken.mlmodel: coremlcompiler refuses it:\nno model"),
        ("slow.mlmodel", "slow.mlmodel>"),
        ("broken.swift", "broken.swift: does not type-check"),
    ],
)
def test_any_fault_fails_the_whole(file: str, said: str, folder: Path, run_on_mac: Run) -> None:
    (folder / file).touch()
    (folder / "Good.swift").touch()
    done = run_on_mac(folder)
    assert said in done.stdout
    assert "Good.swift: type-checks" in done.stdout
    assert done.stdout.splitlines()[-1] == "FAIL: see above"
    assert done.returncode == 1
