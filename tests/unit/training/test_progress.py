"""What a training shows on a terminal: the step and the time left on every width, the losses if there is room."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from rich.console import Console

from tinystyle.training.progress import _bar_width, _figures, columns

VALUES = {"content": 0.647, "style": 1.085, "total": 3.007, "style_weight": 2.31, "images_per_second": 3.44}


def test_c7_what_is_dropped_first() -> None:
    texts = [_figures(VALUES, width) for width in range(80)]
    assert texts[-1] == _figures(VALUES) == "content 0.647  style 1.085 (x2.31)  total 3.007  3.4 images/s"
    assert all(len(text) <= width for width, text in enumerate(texts))
    assert [text for text, after in pairwise([*texts, ""]) if text != after] == [
        "",
        "3.4 images/s",
        "total 3.007  3.4 images/s",
        "content 0.647  style 1.085 (x2.31)  total 3.007  3.4 images/s",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_c7_a_narrow_terminal_shows_the_step_and_the_time_left(width: int) -> None:
    from rich.progress import Progress

    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    bar = Progress(*columns(width), console=console)
    task = bar.add_task("", total=4000, completed=100)
    taken = len("4000/4000") + _bar_width(width) + 14
    bar.update(task, completed=137, description=_figures(VALUES, width - taken))
    with console.capture() as shown:
        console.print(bar.make_tasks_table(bar.tasks))
    text = shown.get()
    assert text.count("\n") == 1
    assert "137/4000" in text
    assert "-:--:--" in text
    assert "images/s" in text
    assert ("content 0.647" in text) == (width >= 100)
    assert "…" not in text
