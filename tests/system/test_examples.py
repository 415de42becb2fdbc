"""The examples, run as they stand."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.photos import synthetic_photo
from tests.support.places import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


@pytest.mark.long
def test_the_notebook_runs_from_a_painting_to_a_verified_file(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "train_one_style.ipynb", tmp_path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbmake",
        "--nbmake-timeout=300",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
    ]
    ended = subprocess.run(
        [*command, "train_one_style.ipynb"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
    assert (tmp_path / "notebook" / "starry-sky.mlmodel").stat().st_size < 15_700


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # parts of FastAPI warn each other
@pytest.mark.filterwarnings("ignore:Using `httpx` with")
def test_the_web_service_stylizes_and_refuses() -> None:
    from fastapi.testclient import TestClient

    from examples.web_service import app

    client = TestClient(app)
    photo = io.BytesIO()
    synthetic_photo(1, 64, 48).save(photo, format="JPEG")
    answer = client.post("/stylize/starry-night", content=photo.getvalue())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(answer.content)).size == (64, 48)
    refused = client.post("/stylize/none", content=photo.getvalue())
    assert refused.status_code == 400
    assert "choose from pretrained:" in refused.json()["detail"]
    assert client.post("/stylize/starry-night", content=b"no image").status_code == 400
