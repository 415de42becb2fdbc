"""`tinystyle stylize` as a user meets it, in processes of its own."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.models import save_untrained
from tests.support.photos import synthetic_photo


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_untrained(tmp_path_factory.mktemp("model") / "model.safetensors")


def stylize(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tinystyle", "stylize", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def test_from_standard_input_to_standard_output(model: str, tmp_path: Path) -> None:
    photo = io.BytesIO()
    synthetic_photo(0, 40, 30).save(photo, format="JPEG")
    piped = stylize(model, "-", "--out", "-", stdin=photo.getvalue())
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert Image.open(io.BytesIO(piped.stdout)).size == (40, 30)
    filed = stylize(model, "-", "--out", tmp_path, stdin=photo.getvalue())
    assert filed.stdout.decode() == f"{tmp_path}/stdin.png\n"
    assert (tmp_path / "stdin.png").read_bytes() == piped.stdout
    empty = stylize(model, "-", "--out", tmp_path / "none")
    assert empty.returncode == 2
    assert b"Error: 1 of 1 photos could not be stylized: standard input is an empty file" in empty.stderr


def test_what_was_written_is_printed_though_a_photo_failed(model: str, tmp_path: Path) -> None:
    synthetic_photo(0).save(tmp_path / "a.png")
    synthetic_photo(1).save(tmp_path / "c.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    (tmp_path / "list.txt").write_text("a b c")
    out = tmp_path / "out"
    done = stylize(model, tmp_path, "--out", out, "--keep-colors", "--strength", "0.5", "--max-side", "48")
    assert done.returncode == 2
    assert done.stdout.decode() == f"{out}/a.png\n{out}/c.png\n"
    note, error = done.stderr.decode().splitlines()
    assert note == f"{tmp_path}: skipped, as they are not images that can be read: list.txt"
    assert error.startswith(f"Error: 1 of 3 photos could not be stylized: {tmp_path}/b.png is truncated or damaged")
    with Image.open(out / "a.png") as image:
        assert image.size == (48, 36)
