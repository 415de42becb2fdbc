"""The page of a decision: what decided it, the figures, and both networks' pictures."""

from __future__ import annotations

import base64
import io
import random
from datetime import UTC, datetime

import numpy as np
from PIL import Image

from flows.catalog import StyleEntry
from flows.gates import Evidence, judge
from flows.judgments import markdown, side_by_side
from flows.pictures import embedded
from tests.support.photos import synthetic_photo
from tinystyle.tracking.registry import ModelVersion

VERSION = ModelVersion("wave", 2, "0123", (), {}, datetime.now(UTC))
ENTRY = StyleEntry(name="wave", image="builtin:wave")


def evidence(label: str, content: float, photos: int = 24) -> Evidence:
    noise = random.Random(0)
    values = [content * (1 + noise.gauss(0, 0.05)) for _ in range(photos)]
    pictures = [(synthetic_photo(seed), synthetic_photo(seed + len(label))) for seed in range(2)]
    return Evidence(label, values, [0.3] * photos, [0.5] * photos, None, None, 9000, pictures)


def test_the_page_says_what_decided() -> None:
    page = markdown(VERSION, judge(evidence("version 2", 1.2), evidence("version 1", 1.0), ENTRY))
    assert page.startswith("# wave version 2: refused\n\nrefused: content 1.")
    assert "| content | **refused** | 1." in page
    assert "| +20.0% | +20.0% to +20.0% | +5.0% |" in page
    assert "| paint3 | passed | 0.3000 | 0.3000 | +0.0% | +0.0% to +0.0% | +5.0% |" in page
    assert "- every exported file is verified" in page
    first = markdown(VERSION, judge(evidence("version 2", 1.2), None, ENTRY))
    assert "# wave version 2: accepted\n\naccepted: passed all 6 gates." in first
    assert "| content | passed | 1." in first
    few = markdown(VERSION, judge(evidence("version 2", 1.2, 3), evidence("version 1", 1.2, 3), ENTRY))
    assert "| +0.0% | too few photos (3) |" in few


def test_pictures_are_side_by_side() -> None:
    challenger, champion = evidence("version 2", 1), evidence("version one", 1)
    both, alone = side_by_side(challenger, champion), side_by_side(challenger, None)
    assert both.width > 1.4 * alone.width
    assert both.height == alone.height


def test_a_picture_inside_a_page_is_small_and_whole() -> None:
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 3000, 3), np.uint8))
    text = embedded(noisy, "noise")
    assert text.startswith("![noise](data:image/jpeg;base64,")
    assert len(text) < 400_000, "even of noise, which no picture is"
    shown = Image.open(io.BytesIO(base64.b64decode(text.partition("base64,")[2][:-1])))
    assert shown.size == (1200, 600)
    photo = embedded(synthetic_photo(1, 1200, 800), "a photo")
    assert len(photo) < 220_000
