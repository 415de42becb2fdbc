"""`tinystyle web` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.models import save_untrained
from tinystyle.styles import pretrained

FIVE = [pretrained.PREFIX + name for name in pretrained.names()]


@pytest.mark.slow
def test_it_writes_one_file_and_says_how_true_it_is(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    code, output, error = run("web", "pretrained:starry-night", "--out", out)
    assert (code, error) == (0, "")
    size = out.stat().st_size
    assert size <= 80_000
    assert output == (
        f"{out}: {size:,} bytes, 1 style, 16 bits per weight; the same pictures as `tinystyle stylize` to one gray level\n"
    )
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
    code, output, error = run("web", *FIVE, "--out", out)
    assert (code, error) == (0, "")
    assert out.stat().st_size <= 80_000
    assert "5 styles, 6." in output
    assert "dB of those of `tinystyle stylize`; fewer styles or a larger --max-bytes" in output


@pytest.mark.slow
def test_mistakes_are_one_sentence_and_leave_nothing(run: Run, tmp_path: Path) -> None:
    model = save_untrained(tmp_path / "model.safetensors")
    cases = (
        ((model, "--out", tmp_path / "page.pdf"), "give a file that ends in .html"),
        (("starry.mlmodel", "--out", tmp_path / "page.html"), "is a Core ML file"),
        (("cat.jpg", "--out", tmp_path / "page.html"), "is an image"),
        (("pretrained:stary-night", "--out", tmp_path / "page.html"), "did you mean starry-night?"),
        ((tmp_path / "none", "--out", tmp_path / "page.html"), "no such file"),
        ((model, "--out", "s3://bucket/page.html"), "is an address"),
        ((*FIVE, "--max-bytes", "40000", "--out", tmp_path / "page.html"), "5 models take"),
    )
    for arguments, expected in cases:
        code, output, error = run("web", *arguments)
        assert (code, output) == (2, ""), arguments
        assert error.startswith("Error: ")
        assert expected in error
        assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
