"""Builds the images of docker/ without a Docker engine, and runs programs in them as a container would.

A base is made from Debian's packages in place of the official Python image, which no registry has to be reached for.
Programs run as the image's user on a read-only root, in namespaces of their own, on the network of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import REPOSITORY

__all__ = ["Image", "Images", "skip_unless_images_can_be_built"]

_TOOLS = ("buildah", "debootstrap", "unshare", "chroot")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_DEBIAN = "bookworm"
# What a container's runtime does, in a mount namespace: $1 root, $2 user, $3 folder, $4 number of the folders to mount,
# then those, as SOURCE and TARGET, then the program.
_SANDBOX = """
set -e
root=$1 user=$2 folder=$3 count=$4
shift 4
touch "$root/etc/hosts" "$root/etc/resolv.conf"
mount --bind "$root" "$root"
mount --bind /etc/hosts "$root/etc/hosts"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/secrets"
while [ "$count" -gt 0 ]; do
  mount --bind "$1" "$root$2"
  shift 2
  count=$((count - 1))
done
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


def skip_unless_images_can_be_built() -> None:
    """Skip the test, with the reason, where images cannot be built."""
    if os.geteuid() != 0:
        pytest.skip("building and running an image takes root here")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: Debian's packages buildah and debootstrap bring them")


@dataclass(frozen=True)
class Image:
    """An image, and its files at `root`."""

    name: str
    root: Path
    config: dict[str, Any]
    """Docker's configuration of it: Env, User, WorkingDir, Entrypoint, Labels, Healthcheck."""
    bytes: int

    def command(
        self,
        *program: str,
        mounts: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
        entrypoint: bool = True,
    ) -> list[str]:
        """Return the command that runs `program` in a container of the image: its user, a read-only root."""
        folders = [part for source, target in (mounts or {}).items() for part in (str(source), target)]
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in (environment or {}).items())]
        return [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _SANDBOX, "container", str(self.root),
            self.config["User"], self.config["WorkingDir"], str(len(folders) // 2), *folders, "env", "-i", *variables,
            *(self.config["Entrypoint"] if entrypoint else []), *program,
        ]  # fmt: skip

    def run(
        self,
        *program: str,
        mounts: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
        entrypoint: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a container of the image to its end."""
        command = self.command(*program, mounts=mounts, environment=environment, entrypoint=entrypoint)
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


class Images:
    """A store of images in a folder of its own. An image that is there already is not built again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._options = ("--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", "vfs")

    def base(self) -> str:
        """Make the base image from Debian's packages, without what the official one leaves out; return its name."""
        name, root = "localhost/base", self.folder / "base"
        if self._exists("base"):
            return name
        include = "--include=python3,python3-venv,ca-certificates"
        self._call("debootstrap", "--variant=minbase", include, _DEBIAN, str(root))
        shutil.copy(_CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt")  # those of this machine's network
        for place in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(root / place)
        container = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", container, str(root), "/")
        certificates = f"/{_CERTIFICATES.relative_to('/')}"
        self._buildah(
            "config", "--env", f"SSL_CERT_FILE={certificates}", "--env", f"PIP_CERT={certificates}", container
        )
        self._buildah("commit", "--quiet", "--rm", container, name)
        shutil.rmtree(root)
        return name

    def build(self, name: str, base: str) -> None:
        """Build docker/NAME.Dockerfile. The CPU build of torch comes from PIP_FIND_LINKS, if it is set."""
        if self._exists(name):
            return
        links = os.environ.get("PIP_FIND_LINKS")
        torch = ["--volume", f"{links}:/links:ro", "--build-arg", "CPU_TORCH=--find-links=/links"] if links else []
        self._buildah(
            "bud", "--format", "docker", "--isolation", "chroot", "--network", "host", "--layers=false", "--quiet",
            "--build-arg", f"BASE={base}", *torch, "--file", f"docker/{name}.Dockerfile", "--tag", name, ".",
        )  # fmt: skip

    @contextmanager
    def mounted(self, name: str) -> Iterator[Image]:
        """Lay out the files of an image that was built; they are removed afterwards."""
        container = self._buildah("from", f"localhost/{name}")
        try:
            described = json.loads(self._buildah("inspect", container))
            root = Path(self._buildah("mount", container))
            total = sum(path.lstat().st_size for path in root.rglob("*"))
            yield Image(name, root, described["Docker"]["config"], total)
        finally:
            self._buildah("rm", container)

    def _exists(self, name: str) -> bool:
        images = json.loads(self._buildah("images", "--json") or "[]")
        return any(f"localhost/{name}:latest" in (image["names"] or []) for image in images)

    def _buildah(self, command: str, *arguments: str) -> str:
        return self._call("buildah", *self._options, command, *arguments)

    def _call(self, *command: str) -> str:
        ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}"
        return ended.stdout.strip()
