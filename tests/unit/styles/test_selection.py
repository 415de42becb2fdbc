"""The names of styles in a network of many, and of their mixtures."""

from pathlib import Path

import pytest

from tinystyle.errors import UserError
from tinystyle.styles.selection import check_name, join, parse, split, title

NAMES = ("wave", "mosaic", "starry night")


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("wave", {"wave": 1}),
        ("starry night", {"starry night": 1}),
        ("wave=0.5,mosaic=0.5", {"wave": 0.5, "mosaic": 0.5}),
        ("wave=3, starry night=1", {"wave": 0.75, "starry night": 0.25}),
        ("wave,mosaic", {"wave": 0.5, "mosaic": 0.5}),
        ("mosaic=7", {"mosaic": 1}),
    ],
)
def test_shares_add_up_to_one(text: str, shares: dict[str, float]) -> None:
    assert parse(text, NAMES) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("wav", r"no style 'wav' in it \(did you mean wave\?\); choose from wave, mosaic"),
        ("wave=0.5,wave=0.5", "twice"),
        ("wave=0", "no number above 0"),
        ("wave=-1,mosaic=2", "no number above 0"),
        ("wave=nan", "no number above 0"),
        ("wave=inf", "no number above 0"),
        ("wave=half", "write a mixture as"),
        ("", "no style ''"),
        ("wave=1,", "no style ''"),
    ],
)
def test_what_is_no_mixture_is_told(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse(text, NAMES)


def test_titles() -> None:
    assert title({"wave": 1.0}) == "wave"
    assert title(parse("wave=3,mosaic=1", NAMES)) == "wave 75%, mosaic 25%"


def test_an_address_is_split_and_joined(tmp_path: Path) -> None:
    assert split("runs/ten#wave=1,mosaic=1") == ("runs/ten", "wave=1,mosaic=1")
    assert split("s3://models/ten.safetensors#wave") == ("s3://models/ten.safetensors", "wave")
    assert split("runs/ten") == ("runs/ten", None)
    assert split("runs/#1/model.safetensors") == ("runs/#1/model.safetensors", None)
    (tmp_path / "run#1").mkdir()
    assert split(tmp_path / "run#1") == (str(tmp_path / "run#1"), None)
    assert join("runs/ten", None) == "runs/ten"
    assert split(join(str(tmp_path / "run#1"), "wave")) == (str(tmp_path / "run#1"), "wave")
    with pytest.raises(UserError, match="both choose a style"):
        join("runs/ten#wave", "mosaic")


@pytest.mark.parametrize("name", ["a=b", "a,b", "a#b", "a/b", "", " a", "x" * 61, "a\nb"])
def test_what_cannot_name_a_style(name: str) -> None:
    with pytest.raises(UserError, match="cannot name a style"):
        check_name(name)


def test_usual_names() -> None:
    for name in ("starry_night", "great-wave", "Été 2", "v1.2"):
        assert check_name(name) == name
