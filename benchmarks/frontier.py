"""Keeps what is worth keeping of a folder that `tinystyle frontier` has written: figures, plots, and a sheet of pictures.

    python benchmarks/frontier.py FOLDER

Writes frontier.csv (FOLDER's, without the columns that name files of one machine), frontier_PAINTING.png (the plot
against bytes) and frontier.jpg beside this script, and prints the table of frontier.md.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from PIL import Image

from tinystyle.data.contact_sheet import style_sheet

HERE = Path(__file__).parent
LOCAL = ("image", "folder", "message", "key")
SHOWN = ("small 0.1", "small 0.2", "small 0.3", "small 0.5", "small 1", "johnson 0.3", "johnson 1")


def main(folder: Path) -> None:
    with (folder / "frontier.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [name for name in rows[0] if name not in LOCAL]
    with (HERE / "frontier.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, kept, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    paintings = list(dict.fromkeys(row["style_name"] for row in rows))
    for painting in paintings:
        plot = Image.open(folder / "plots" / f"{painting}-bytes.png").convert("P", palette=Image.Palette.ADAPTIVE)
        plot.save(HERE / f"frontier_{painting}.png", optimize=True)
    photo = Image.open(folder / "gallery" / "photo-1.jpg")
    columns = {
        name: [Image.open(folder / "gallery" / f"{painting}-{name.replace(' ', '-')}-1.jpg") for painting in paintings]
        for name in SHOWN
    }
    style_sheet([photo] * len(paintings), columns).save(HERE / "frontier.jpg", quality=88)
    table(rows, paintings)


def table(rows: list[dict[str, str]], paintings: list[str]) -> None:
    """Print a line for each network: weights, bytes, multiply-accumulates, and its score on each painting."""
    print(f"| network | weights | bytes | MACs at 640x480 | ms | {' | '.join(paintings)} |")
    print(f"|---|---:|---:|---:|---:|{'---:|' * len(paintings)}")
    names = dict.fromkeys(row["name"] for row in rows)
    for name in names:
        those = {row["style_name"]: row for row in rows if row["name"] == name}
        first = next(iter(those.values()))
        cost = "| | | | "
        if first["weights"]:
            macs, latency = float(first["macs"]) / 1e9, float(first["latency_ms"])
            cost = f"| {int(first['weights']):,} | {int(first['bytes']):,} | {macs:.2f} G | {latency:.0f} "
        scores = " | ".join(
            f"{float(those[painting]['score']):.2f}" if painting in those else "" for painting in paintings
        )
        print(f"| {name} {cost}| {scores} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
