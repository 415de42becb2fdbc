"""Names that models are released under."""

from __future__ import annotations

import pytest

from tinystyle.errors import UserError
from tinystyle.release.bundle import check_name


@pytest.mark.parametrize("name", ["starry-night", "a", "7" * 60])
def test_names_that_can_be_registered(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "Starry", "starry_night", "a/b", "a' OR name = 'b", "7" * 61, "a\n"])
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(UserError, match="use up to 60"):
        check_name(name)
