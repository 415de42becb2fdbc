"""frontier.jsonl and frontier.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support.frontier import row
from tinystyle.errors import UserError
from tinystyle.training.frontier.rows import RowFile, fronts, write_csv


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_found_again_by_key_and_judge_and_without_the_latency(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "frontier.jsonl")
    for one in (row("small 0.1"), row("small 0.2", state="collapsed", message="it did", score=None)):
        file.append(one)
        again = RowFile(tmp_path / "frontier.jsonl").get(one.key, one.judge)
        assert again == one.model_copy(update={"latency_ms": None})
    assert file.get("small 0.1", "another judge") is None
    assert len((tmp_path / "frontier.jsonl").read_text().splitlines()) == 2


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "frontier.jsonl").write_text('{"key": "x"}\n')
    with pytest.raises(UserError, match=r"frontier.jsonl is damaged in line 1"):
        RowFile(tmp_path / "frontier.jsonl")


def test_the_front_of_each_cost_is_a_column_and_styles_do_not_compete(tmp_path: Path) -> None:
    rows = [
        row("small 0.1", score=3.0, weights=10, bytes=30, latency_ms=5.0),
        row("small 0.2", score=2.0, weights=20, bytes=20, latency_ms=9.0),
        row("johnson 0.1", score=2.5, weights=30, bytes=10, latency_ms=None),
        row("johnson 0.2", score=None, weights=1, bytes=None, state="collapsed", message="collapsed, at step 200"),
        row("small 0.1", style="b" * 64, style_name="stars", score=9.0, weights=10**9),
        row("small 0.3", score=2.0, weights=40, bytes=40, latency_ms=40.0),
    ]
    write_csv(tmp_path / "x.csv", rows)
    found = {(line["style_name"], line["name"]): line for line in read(tmp_path / "x.csv")}
    marks = {
        key: "".join(line[f"front_{cost}"] for cost in ("weights", "bytes", "latency_ms"))
        for key, line in found.items()
    }
    assert marks == {
        ("waves", "small 0.1"): "101",
        ("waves", "small 0.2"): "111",
        ("waves", "johnson 0.1"): "010",
        ("waves", "johnson 0.2"): "000",
        ("waves", "small 0.3"): "000",
        ("stars", "small 0.1"): "111",
    }
    assert found["waves", "johnson 0.2"]["message"] == "collapsed, at step 200"
    assert found["waves", "johnson 0.2"]["score"] == ""
    assert float(found["waves", "small 0.1"]["paint3"]) == 0.25


def test_baselines_take_no_part_in_a_front() -> None:
    free = row("small 0.1").model_copy(
        update={"name": "color match", "architecture": None, "alpha": None, "score": 0.0}
    )
    assert [found.name for found in fronts([free, row("small 0.2")])["weights"]] == ["small 0.2"]
