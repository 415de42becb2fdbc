"""Users' mistakes and bugs: who is told what, with which exit code."""

from __future__ import annotations

import errno

import pytest
from pydantic import ValidationError

from tests.support.command_line import Run
from tinystyle.config import NetworkConfig
from tinystyle.errors import UnavailableError, UserError, complaint, sentence, with_parameters


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("give a\nphoto"), "give a photo"),
        (UnavailableError("the store does not answer"), "the store does not answer"),
        (FileNotFoundError(errno.ENOENT, "No such file", "cat.jpg"), "cat.jpg: no such file"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (OSError("socket closed"), None),
        (ValueError("not enough values to unpack"), None),
        (KeyError("weights"), None),
    ],
)
def test_only_a_users_mistake_has_a_sentence(error: Exception, expected: str | None) -> None:
    assert sentence(error) == expected


def test_a_complaint_names_the_field_and_its_value() -> None:
    with pytest.raises(ValidationError) as caught:
        NetworkConfig(architecture="small", alpha=-1)
    assert complaint(caught.value) == "`alpha` -1: input should be greater than 0"


def test_parameters_become_what_the_reader_knows_them_as() -> None:
    text = "give `style_weight` or `out`; run `tinystyle networks` or `a-b`"
    assert with_parameters(text, str.upper) == "give STYLE_WEIGHT or OUT; run `tinystyle networks` or `a-b`"


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(*_: object) -> None:
        first, second = (1, 2, 3)  # type: ignore[misc]
        raise AssertionError((first, second))

    monkeypatch.setattr("tinystyle.nets.cost.network_cost", cost)


@pytest.mark.usefixtures("bug")
def test_a_bug_keeps_its_traceback(run: Run) -> None:
    code, output, error = run("networks")
    assert code == 70
    assert output == ""
    assert "Traceback (most recent call last)" in error
    assert "in cost" in error
    assert "too many values to unpack" in error
    assert "bug in tinystyle" in error


@pytest.mark.parametrize("way", ["option", "environment"])
def test_debugging_shows_the_traceback_of_a_mistake_too(run: Run, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("TINYSTYLE_DEBUG", "1" if way == "environment" else "0")
    code, _, error = run(*(["--debug"] if way == "option" else []), "networks", "--architecture", "unet")
    assert code == 2
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith("Error: unknown architecture 'unet'")
