"""A parameter that is added to a copy of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.places import REPOSITORY


def test_a_new_field_is_everywhere_with_no_other_line(tmp_path: Path) -> None:
    for package in ("tinystyle", "flows"):
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    models = tmp_path / "tinystyle" / "config" / "run.py"
    before = "    batch_size: int = "
    new = '    mirror_share: float = _field(0.25, ge=0, le=1)\n    """Share of the crops that are mirrored."""\n'
    assert models.read_text().count(before) == 1
    models.write_text(models.read_text().replace(before, new + before))
    (tmp_path / "run.yaml").write_text("{mirror_share: 0.75, style: s, photos: p}")
    (tmp_path / "catalog.yaml").write_text("styles: [{name: wave, image: builtin:wave, mirror_share: 0.5}]")
    program = """
import sys
from flows.train_style import train_style
from tinystyle.commands import app as cli
from flows.catalog import load_catalog
from tinystyle.commands.config_file import read_config
from tinystyle.config import run_config
print(run_config(read_config("run.yaml")).data.mirror_share)
print(load_catalog("catalog.yaml").styles[0].trainings[0].run.data.mirror_share)
print(train_style.parameters.properties["mirror_share"])
sys.argv = ["tinystyle", "train", "--help"]
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("0.75\n0.5\n{'default': 0.25, 'description': 'Share of the crops that are mirrored.'")
    assert "--mirror-share NUMBER" in done.stdout
    assert "[0<=x<=1; default: 0.25]" in " ".join(done.stdout.split())
