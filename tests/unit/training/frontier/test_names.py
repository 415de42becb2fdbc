"""Names that tell rows and styles apart."""

from __future__ import annotations

from tests.support.frontier import row
from tinystyle.training.frontier.names import slug, told_apart


def test_what_is_called_alike_is_told_apart_as_a_file_is_too() -> None:
    rows = [
        row("small 0.1", key="1" * 16, folder="a/first"),
        row("small 0.1", key="2" * 16, folder="a/second"),
        row("small 0.2", key="3" * 16, folder="a/run"),
        row("small 0.2", key="4" * 16, folder="b/run"),
        row("small 0.3", key="5" * 16),
        row("small 0.3", key="6" * 16, style="b" * 64, style_name="Waves"),
    ]
    found = [(one.style_name, one.name) for one in told_apart(rows)]
    assert found == [
        ("waves (aaaaaa)", "small 0.1 (first)"),
        ("waves (aaaaaa)", "small 0.1 (second)"),
        ("waves (aaaaaa)", "small 0.2 (333333)"),
        ("waves (aaaaaa)", "small 0.2 (444444)"),
        ("waves (aaaaaa)", "small 0.3"),
        ("Waves (bbbbbb)", "small 0.3"),
    ]
    assert len({slug(" ".join(names)) for names in found}) == len(found)


def test_rows_come_style_by_style_and_unique_names_stay() -> None:
    rows = [row("small 0.1"), row("small 0.1", style="b" * 64, style_name="stars"), row("small 0.2")]
    assert [(one.style_name, one.name) for one in told_apart(rows)] == [
        ("waves", "small 0.1"),
        ("waves", "small 0.2"),
        ("stars", "small 0.1"),
    ]
