"""Builds the page: puts its sources, its styles and their weights into one HTML file of a given size at most."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from tinystyle.errors import UserError
from tinystyle.model_file import load_model, load_styles
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.styles import draw_style, pretrained, selection
from tinystyle.web.pack import EXACT, ascii85, deflated, originals, pack, rounded_weights
from tinystyle.web.plan import plan_of
from tinystyle.web.rounding import correlations

__all__ = ["MAX_BYTES", "Page", "build_page"]

MAX_BYTES = 80_000
"""Size of a page, unless another is asked for."""
_FAITHFUL = 520
"""Levels from which on pictures were those of the unrounded networks to one gray level (benchmarks/web.md)."""
_LEVELS = sorted({round(31 * 2 ** (step / 64)) for step in range(449)})
"""Numbers of levels to choose from: 31 (6 bits) to 3968 (13 bits)."""
_TEST_SIDE = 192
_FOLDER = resources.files("tinystyle.web").joinpath("page")
_SCRIPTS = ("weights.js", "plain.js", "webgl.js", "webgpu.js", "backends.js", "photo.js", "app.js")


@dataclass(frozen=True)
class Page:
    """A built page."""

    html: str
    names: tuple[str, ...]
    """What its styles are called."""
    levels: int
    """Largest integer that weights are rounded to; `pack.EXACT` if they are float16."""

    psnr: float
    """PSNR, in dB, of the pictures of its worst style against those of the unrounded network, on a picture drawn by code."""

    @property
    def faithful(self) -> bool:
        """Whether its pictures are those of `tinystyle stylize` to one gray level."""
        return self.levels == EXACT or self.levels >= _FAITHFUL

    def summary(self) -> str:
        """Return a line that says how large the page is and how far its pictures are those of the networks."""
        count = len(self.names)
        styles = "1 style" if count == 1 else f"{count} styles"
        bits = "16" if self.levels == EXACT else f"{math.log2(2 * self.levels + 1):.1f}"
        pictures = (
            "the same pictures as `tinystyle stylize` to one gray level"
            if self.faithful
            else f"its pictures are within {self.psnr:.1f} dB of those of `tinystyle stylize`; fewer styles or a larger "
            "--max-bytes bring them closer"
        )
        return f"{len(self.html.encode()):,} bytes, {styles}, {bits} bits per weight; {pictures}"


def build_page(sources: Sequence[str], max_bytes: int = MAX_BYTES) -> Page:
    """Build a page with several styles, whose weights are as fine as fits.

    Args:
        sources: models: paths, URIs or `pretrained:NAME`. One of many styles gives all of them, unless `#NAME` chooses.
        max_bytes: maximum size of the file.

    Raises:
        UserError: a model cannot be read, or all of them do not fit even with 6 bits per weight.
    """
    sources = [style for source in sources for style in _each_style(source)]
    models = [load_model(source) for source in sources]
    names = _distinct([_name(source) for source in sources])
    captions = [_caption(source) for source in sources]
    networks = [model.network for model in models]
    shared = [{"of": first} if first != at else {} for at, first in enumerate(originals(networks))]

    def page(levels: int, correlated: Sequence[Sequence[Tensor] | None] | None = None) -> str:
        styles = [
            {"name": name, "about": caption, "levels": levels, **of, **plan_of(network)}
            for name, caption, of, network in zip(names, captions, shared, networks, strict=True)
        ]
        return _assembled(json.dumps(styles, separators=(",", ":")), pack(networks, levels, correlated))

    levels = _finest(lambda levels: len(page(levels).encode()) <= max_bytes)
    correlated = None if levels == EXACT else _correlations(networks)
    html = page(levels, correlated)
    while len(html.encode()) > max_bytes:  # nothing fits, or the codes of the better rounding are a little longer
        if levels <= _LEVELS[0]:
            raise UserError(
                f"{len(models)} models take {len(html.encode()):,} bytes at 6 bits per weight, more than {max_bytes:,}; "
                "give fewer, or a larger `max_bytes`"
            )
        levels = max(_LEVELS[0], math.floor(levels * 0.995))
        html = page(levels, correlated)
    return Page(html, tuple(names), levels, _worst_psnr(networks, levels, correlated))


def _each_style(source: str) -> list[str]:
    """Return a model, or every style of a model of many, each as a source of its own."""
    found = load_styles(source)
    return [f"{source}#{name}" for name in found.names] if found else [source]


def _correlations(networks: Sequence[StyleNetwork]) -> list[list[Tensor]]:
    """Return the correlations that the weights of each network are rounded by: those of the first with these weights."""
    firsts = originals(networks)
    found = {first: correlations(networks[first]) for first in set(firsts)}
    return [found[first] for first in firsts]


def _worst_psnr(networks: Sequence[StyleNetwork], levels: int, correlated: Sequence[Sequence[Tensor]] | None) -> float:
    """Return the smallest PSNR, in dB, of what networks with rounded weights make of a drawn picture."""
    photo_13hw = torch.from_numpy(np.array(draw_style("mosaic", _TEST_SIDE))).permute(2, 0, 1)[None].float()
    worst, known = 0.0, correlated or [()] * len(networks)
    for network, of_it in zip(networks, known, strict=True):
        as_on_page = copy.deepcopy(network)
        as_on_page.load_state_dict(rounded_weights(network, levels, of_it))
        with torch.inference_mode():
            worst = max(worst, float((network(photo_13hw) - as_on_page(photo_13hw)).square().mean()))
    return math.inf if worst == 0 else 10 * math.log10(255**2 / worst)


def _finest(fits: Callable[[int], bool]) -> int:
    """Return EXACT if that fits, otherwise the largest number of levels that does, or the smallest if none does."""
    if fits(EXACT):
        return EXACT
    low, high = -1, len(_LEVELS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(_LEVELS[middle]) else (low, middle)
    return _LEVELS[max(low, 0)]


def _assembled(styles: str, weights: bytes) -> str:
    """Return the HTML file. Its sources are compressed like its weights: they are a third of it."""
    text = _FOLDER.joinpath("shell.html").read_text()
    css, body = _slim(_read("style.css")), _slim(_read("body.html"))
    program = "".join(_slim(_read(name)) for name in _SCRIPTS)
    parts = {
        "___SOURCES___": ascii85(deflated("\0".join((css, body, f"const STYLES={styles};{program}")).encode())),
        "___WEIGHTS___": ascii85(weights),
    }
    for placeholder, value in parts.items():
        text = text.replace(placeholder, value)
    # A number of as many characters as its placeholder, so that it does not change what it says.
    return text.replace("___BYTES___", f"{len(text.encode()):<11}")


def _read(name: str) -> str:
    return _FOLDER.joinpath(name).read_text(encoding="utf-8")


def _slim(source: str) -> str:
    """Return a source without indentation, empty lines and whole-line comments of //. Strings span no lines in them."""
    lines = (line.strip() for line in source.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _name(source: str) -> str:
    """Return what a model is called: the style's, the run's folder's or the file's name, with capitals."""
    place, style = selection.split(source)
    path = PurePosixPath(style or place.removeprefix(pretrained.PREFIX).rstrip("/"))
    stem = path.stem if path.suffix in (".safetensors", ".ckpt") else path.name
    if stem in ("model", "last", "best") and path.parent.name:
        stem = path.parent.name
    words = stem.replace("_", "-").split("-")
    return " ".join(word.upper() if set(word) <= set("ivx") else word.capitalize() for word in words if word) or stem


def _caption(source: str) -> str:
    if not pretrained.is_pretrained(source):
        return ""
    return pretrained.painting_of(source.removeprefix(pretrained.PREFIX)).replace("\n", ", ")


def _distinct(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} {names[: i + 1].count(name)}" for i, name in enumerate(names)]
