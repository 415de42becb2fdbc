"""What a shell makes of the files that are written for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from infra.settings import Secrets, StackSettings, client_environment, write_environment
from tests.support.bundles import package_in
from tinystyle.coreml.package import content_bytes, content_sha256
from tinystyle.data import storage
from tinystyle.release.publishing import publish_folder


def test_hash_of_a_package_is_what_the_shell_makes_of_it(tmp_path: Path) -> None:
    package = package_in(tmp_path)
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=package, capture_output=True, text=True, check=True).stdout
    assert content_sha256(package) == printed.split()[0]
    manifest = package / "Manifest.json"
    assert content_sha256(manifest) == storage.sha256(manifest)
    assert content_bytes(manifest) == manifest.stat().st_size < content_bytes(package)


def test_a_shell_reads_the_environment_as_it_was_written(tmp_path: Path) -> None:
    environment = client_environment(StackSettings(), Secrets())
    write_environment(tmp_path / "env", environment)
    shown = subprocess.run(
        ["sh", "-c", f"set -a; . {tmp_path}/env; env"], env={}, capture_output=True, text=True, check=True
    ).stdout
    assert environment.items() <= dict(line.split("=", 1) for line in shown.splitlines()).items()


def test_the_shell_checks_what_is_published(assembled: Path, tmp_path: Path) -> None:
    publish_folder(assembled, style="mosaic", version=1, root=str(tmp_path))
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path / "mosaic" / "1",
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout.count(": OK") == 11
