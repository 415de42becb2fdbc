"""Writes a bill of materials (CycloneDX) for every lock, or for those named: sbom.py FOLDER [NAME...]."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LOCKS = [HERE / "library.txt", HERE / "dev.txt"] + [
    HERE.parent / "docker" / "requirements" / f"{image}.txt" for image in ("trainer-cpu", "trainer-cuda", "server")
]


def main(folder: Path, names: list[str]) -> None:
    """Write one validated file for each lock of `names`, by default for all; the same lock gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for lock in LOCKS:
        if names and lock.stem not in names:
            continue
        out = folder / f"{lock.stem}.cdx.json"
        command = ["cyclonedx_py", "requirements", str(lock), "--pyproject", str(HERE.parent / "pyproject.toml")]
        options = ["--output-reproducible", "--validate", "--spec-version", "1.6", "--output-file", str(out)]
        # -W: that a lock does not say which of its packages need which is known.
        subprocess.run([sys.executable, "-W", "ignore", "-m", *command, *options], check=True)
        print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
