"""Draws pairs of pictures for a blind comparison: one of a shipped network and one published, in random order.

    python benchmarks/blind_pairs.py --data FOLDER --out FOLDER

FOLDER contains published/ (published pictures, each with its photo). OUT/pairs.jpg shows the numbered pairs, and
OUT/key.json says which picture is whose; show the first and keep the second. Every call draws a new random order.
"""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tinystyle.styles.pretrained import PREFIX
from tinystyle.stylize import open_model, stylize_image

PAIRS = (
    ("starry-night", "chicago.jpg", "jcjohnson_chicago_starry_night.jpg"),
    ("great-wave", "chicago.jpg", "jcjohnson_chicago_wave.jpg"),
    ("composition-vii", "chicago.jpg", "jcjohnson_chicago_composition_vii.jpg"),
    ("starry-night", "fritz_photo.jpg", "fritz_tiny_starry_night.jpg"),
    ("starry-night", "fritz_photo.jpg", "fritz_large_starry_night.jpg"),
)
HEIGHT, GAP = 400, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    published = arguments.data / "published"
    pairs, key = [], []
    for style, photo_name, theirs_name in PAIRS:
        theirs = Image.open(published / theirs_name).convert("RGB")
        photo = Image.open(published / photo_name).convert("RGB").resize(theirs.size, Image.Resampling.LANCZOS)
        pair = [(PREFIX + style, stylize_image(open_model(PREFIX + style), photo)), (theirs_name, theirs)]
        if secrets.randbelow(2):
            pair.reverse()
        pairs.append([picture for _, picture in pair])
        key.append({"left": pair[0][0], "right": pair[1][0]})
    arguments.out.mkdir(parents=True, exist_ok=True)
    sheet(pairs).save(arguments.out / "pairs.jpg", quality=92)
    (arguments.out / "key.json").write_text(json.dumps(key, indent=1) + "\n")


def sheet(pairs: list[list[Image.Image]]) -> Image.Image:
    """Arrange the pairs below each other, numbered from 1, all at the same height."""
    lines = [
        [picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT)) for picture in pair] for pair in pairs
    ]
    width = max(sum(picture.width for picture in line) for line in lines) + 4 * GAP + 40
    page = Image.new("RGB", (width, GAP + len(lines) * (HEIGHT + GAP)), "white")
    for index, line in enumerate(lines):
        left, top = 40 + GAP, GAP + index * (HEIGHT + GAP)
        ImageDraw.Draw(page).text((GAP, top), str(index + 1), fill="black", font=ImageFont.load_default(28))
        for picture in line:
            page.paste(picture, (left, top))
            left += picture.width + GAP
    return page


if __name__ == "__main__":
    main()
