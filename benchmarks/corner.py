"""Draws the top left corners of pictures, enlarged four times, side by side, to show border and grid artifacts.

    python benchmarks/corner.py PICTURE... --out CORNERS.png

The pictures may come from any version of the project, written by `tinystyle stylize`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

CORNER, TIMES, GAP = 96, 4, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    side = CORNER * TIMES
    sheet = Image.new("RGB", (len(arguments.pictures) * (side + GAP) - GAP, side), "white")
    for index, path in enumerate(arguments.pictures):
        corner = Image.open(path).convert("RGB").crop((0, 0, CORNER, CORNER))
        sheet.paste(corner.resize((side, side), Image.Resampling.NEAREST), (index * (side + GAP), 0))
    sheet.save(arguments.out)


if __name__ == "__main__":
    main()
