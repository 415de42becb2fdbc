"""The page: whole by itself, well-formed, and with everything on it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tests.support.frontier import row
from tinystyle.training.frontier.experiment import Frontier
from tinystyle.training.frontier.gallery import write_jpeg
from tinystyle.training.frontier.page import Facts, Pictures, write_page
from tinystyle.training.frontier.plots import write_plots
from tinystyle.training.frontier.rows import Row

VOID = {"br", "hr", "img", "input", "link", "meta"}
FACTS = Facts(
    photos="s3://photos/coco", count=12, side=384, perceptual="vgg16", second="efficientnet-lite0", cpu="A <fast> CPU",
    threads=2, rounds=9,
)  # fmt: skip


class Page(HTMLParser):
    """Parses a page; fails on a tag that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def shown(folder: Path, rows: list[Row], photos: int = 2) -> str:
    """The page of rows, with gray pictures."""
    paths = [folder / f"{number}.jpg" for number in range(photos)]
    for path in paths:
        write_jpeg(path, Image.new("RGB", (24, 16), "gray"))
    plots = {
        style: write_plots(folder, style[:4], [row for row in rows if row.style == style], ["johnson", "small"])
        for style in {row.style for row in rows}
    }
    made = {(row.style, row.key): paths for row in rows if row.score is not None}
    write_page(folder / "x.html", rows, plots, Pictures([f"p{n}.jpg" for n in range(photos)], paths, made), FACTS)
    return (folder / "x.html").read_text()


@pytest.mark.slow
def test_it_is_one_file_that_asks_nothing_of_others(made: Frontier) -> None:
    text = made.page.read_text()
    page = Page(text)
    assert "http" not in text
    assert not page.all("link")
    assert not any("src" in attributes for attributes in page.all("script"))
    for image in page.all("img"):
        assert re.match(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+$", image["src"])
        assert image["alt"]
    assert set(re.findall(r"url\((.{5})", text)) == {"data:"}


@pytest.mark.slow
def test_every_network_and_photo_is_on_it(made: Frontier) -> None:
    page = Page(made.page.read_text())
    for one in made.rows:
        assert one.name in page.text
    alts = [image["alt"] for image in page.all("img")]
    for photo in ("photo-00.png", "photo-01.png"):
        for name in ("small 0.1", "small 0.2", "color match"):
            assert f"{photo} by {name}" in alts
    assert "impossible: alpha 0.02 leaves" in page.text
    assert "2 held-out photos" in page.text
    assert "efficientnet-lite0 as the loss network" in " ".join(page.text.split())
    assert "builtin:mosaic" in page.text
    assert "The style mosaic" in alts, "a built-in style is shown"


@pytest.mark.slow
def test_what_is_operated_has_a_name_and_ids_are_unique(made: Frontier) -> None:
    page = Page(made.page.read_text())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    sliders = [attributes for attributes in page.all("input") if attributes["type"] == "range"]
    assert len(sliders) == 3 * 2, "color match and two networks, two photos"
    assert all(slider["aria-label"] for slider in sliders)
    assert len({slider["aria-label"] for slider in sliders}) == len(sliders)
    for anchor in page.all("a"):
        assert anchor["href"].removeprefix("#") in ids


@pytest.mark.slow
def test_several_styles_and_names_from_outside(tmp_path: Path) -> None:
    rows = [
        row("small 0.1", style_name="<b>waves & co</b>", image="/secret/<i>.jpg"),
        row("small 0.1", style="b" * 64, style_name="stars", image="s3://bucket/stars.jpg"),
        row("johnson 0.1", style="b" * 64, style_name="stars", second3=0.5, second4=0.25, weights=500, score=1.0),
    ]
    text = shown(tmp_path, rows)
    page = Page(text)
    assert "<b>waves" not in text
    assert "<b>waves & co</b>" in page.text
    assert "A <fast> CPU" in page.text
    assert [anchor["href"] for anchor in page.all("a")] == ["#style-1", "#style-2"]
    assert "The style image is stars.jpg; it is not shown here." in page.text
    assert "second3" in page.text


@pytest.mark.slow
def test_the_front_is_marked_and_said(tmp_path: Path) -> None:
    text = shown(tmp_path, [row("small 0.1"), row("small 0.2", score=3.0, weights=2000, bytes=4000), row("small 0.3")])
    marked = re.findall(r'<tr class="completed front">\s*<th[^>]*>(?:<i[^>]*></i>)?([^<]*)', text)
    assert marked == ["small 0.1", "small 0.3"], "equal ones are on it together"
    assert "The Pareto front by bytes: small 0.1, small 0.3." in Page(text).text


@pytest.mark.slow
@pytest.mark.parametrize("names", [["small 0.1"], ["small 0.1", "small 0.2", "johnson 0.1"]])
def test_nothing_but_collapsed_runs_is_a_page_too(names: list[str], tmp_path: Path) -> None:
    gone = {"score": None, "content": None, "paint3": None, "paint4": None, "bytes": None, "latency_ms": None}
    rows = [row(name, state="collapsed", message="all black", **gone) for name in names]
    page = Page(shown(tmp_path, rows))
    assert page.text.count("collapsed: all black") == len(names)
    assert "lowest score" not in page.text
