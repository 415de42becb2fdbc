"""`tinystyle stylize`: what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.models import save_untrained
from tests.support.photos import synthetic_photo
from tinystyle.commands import app as cli


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_untrained(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{photo}", "--strength", "1.5"), "--strength 1.5: give a number from 0"),
        (("{photo}", "--strength", "-1"), "--strength -1: give a number from 0"),
        (("{photo}", "--max-side", "0"), "--max-side 0: give a longer side of at least 1 pixel"),
        (("{folder}/empty",), "{folder}/empty: there is no readable image"),
        (("{folder}/*.gif",), "{folder}/*.gif: there is no readable image"),
        (("{photo}", "{folder}/none.jpg"), "{folder}/none.jpg: no such photo"),
        (("{photo}", "{folder}/a*.png"), "{photo} and {photo} would both become a.png"),
    ],
)
def test_mistakes_are_one_sentence(
    model: str,
    arguments: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    synthetic_photo(0).save(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    places = {"photo": str(tmp_path / "a.png"), "folder": str(tmp_path)}
    filled = [argument.format(**places) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["tinystyle", "stylize", model, *filled, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith(f"Error: {sentence.format(**places)}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
