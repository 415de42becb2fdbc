"""Ten styles in one network beside networks of one style, a style added to it, and the bytes of one file.

python benchmarks/many_styles.py images --data FOLDER     # five paintings, and built-in styles in several colors
python benchmarks/many_styles.py train --steps 1600       # the ten; then --only NAME for networks of one style
python benchmarks/many_styles.py add                      # an eleventh style
python benchmarks/many_styles.py measure                  # appends to many_styles.jsonl what is not measured yet
python benchmarks/many_styles.py blends                   # a contact sheet

FOLDER has styles/*.jpg and photos/. An interrupted training is resumed by the same command. The loss network is narrow,
batches of four, unless --perceptual, --batch-size say otherwise; paint is measured on VGG16.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from PIL import Image

from tinystyle.config import PARAMETERS
from tinystyle.data.contact_sheet import style_sheet
from tinystyle.data.photos import held_out_photos, photo_tensor, reference_photos
from tinystyle.data.shards import ShardDataset
from tinystyle.evaluation import Criterion, paint_measure
from tinystyle.evaluation.rows import judge_photos
from tinystyle.model_file import load_model, load_styles
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics
from tinystyle.styles import Style, draw_style
from tinystyle.training.judge import to_image

WORK = Path("many_styles")
PAINTINGS = ("starry_night", "great_wave", "poppy_field", "shipwreck", "composition_vii")
DRAWN = (("mosaic", 0), ("starry-sky", 0), ("wave", 0), ("mosaic", 120), ("wave", 150), ("starry-sky", 210))
TEN = (*(f"{name}.jpg" for name in PAINTINGS), *(f"{name}{f'-{turn}' if turn else ''}.png" for name, turn in DRAWN[:5]))
NEW = "starry-sky-210.png"
PHOTOS, SIDE, CROP, REFERENCES = 4, 256, 128, 16
ROWS = Path(__file__).with_suffix(".jsonl")
BLENDS = ("starry_night", "starry_night=0.5,great_wave=0.5", "great_wave", "great_wave=0.5,mosaic=0.5", "mosaic")
OPTIONS = ("--size", str(CROP), "--no-track")


def images(data: Path) -> None:
    (WORK / "images").mkdir(parents=True, exist_ok=True)
    for name in PAINTINGS:
        shutil.copyfile(data / "styles" / f"{name}.jpg", WORK / "images" / f"{name}.jpg")
    for name, turn in DRAWN:
        hue, saturation, value = draw_style(name, 1024).convert("HSV").split()
        turned = hue.point([(x + round(turn * 256 / 360)) % 256 for x in range(256)])
        picture = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
        picture.save(WORK / "images" / f"{name}{f'-{turn}' if turn else ''}.png")
    _tinystyle("ingest", str(data / "photos"), str(WORK / "dataset"), "--size", "256")


def train(given: argparse.Namespace) -> None:
    names = [name for name in TEN if given.only in (None, Path(name).stem)]
    of = ("--style", _image(names[0])) if given.only else ("--styles", ",".join(map(_image, names)))
    kind = [given.perceptual] * (given.perceptual != "narrow") + [f"alpha{given.alpha:g}"] * (given.alpha != 0.3)
    folder = WORK / "runs" / "_".join([given.only or "ten", *kind, str(given.steps)])
    every = ("--checkpoint-every", str(min(given.steps, 400)), "--preview-every", str(min(given.steps, 400)))
    photos = ("--photos", str(WORK / "dataset"), "--batch-size", str(given.batch_size), "--alpha", str(given.alpha))
    loss = ("--perceptual", given.perceptual)
    if given.perceptual_weights:
        loss += ("--perceptual-weights", given.perceptual_weights)
    _tinystyle("train", *of, *photos, *loss, "--out", str(folder), "--steps", str(given.steps), *every, *OPTIONS)


def add(model: str) -> None:
    began = time.monotonic()
    out = WORK / "runs" / "eleven"
    _tinystyle("add-style", str(WORK / "runs" / model), _image(NEW), "--out", str(out), "--no-track")
    _append({"run": "eleven", "added_in_seconds": round(time.monotonic() - began, 1), "to": model})


def measure(weights: str | None) -> None:
    done = {(row["run"], row.get("style")) for row in _rows()}
    network = load_perceptual_network("vgg16", weights).prepare(torch.device("cpu"), torch.float32)
    shards = ShardDataset(WORK / "dataset")
    photos = held_out_photos(shards, PHOTOS, SIDE)
    references = ReferenceStatistics.measure(network, reference_photos(shards, REFERENCES, CROP))
    for folder in sorted((WORK / "runs").iterdir()):
        model = folder / "model.safetensors"
        many = load_styles(model) if model.exists() else None
        names = many.names if many else (re.sub(r"(_vgg16|_alpha[\d.]+)*_\d+$", "", folder.name),)
        for name in names if model.exists() else ():
            if (folder.name, name) in done or (folder.name == "eleven" and name != Path(NEW).stem):
                continue
            style = Style.load(_image(next(each for each in (*TEN, NEW) if Path(each).stem == name)))
            painting = photo_tensor(style.at(2 * CROP))
            target = StyleTarget.measure(network, painting, references, sliced_share=PARAMETERS["sliced_share"].default)
            criterion = Criterion(Losses(network, target), paint_measure(network, style, torch.device("cpu")), 1.0, 3.0)
            plain = load_model(f"{model}#{name}" if many else model).network
            row = judge_photos({"network": plain}, photos, criterion)["network"].of_losses()
            figures = {key: round(row[key], 4) for key in ("content", "paint3", "paint4", "score", "worst_photo")}
            _append({"run": folder.name, "style": name, **figures})


def blends(model: str, out: Path) -> None:
    photos = held_out_photos(ShardDataset(WORK / "dataset"), 3, SIDE)
    columns = {}
    for text in BLENDS:
        network = load_model(f"{WORK / 'runs' / model / 'model.safetensors'}#{text}").network
        with torch.no_grad():
            columns[text.replace(",", "\n")] = [to_image(network(photo)) for photo in photos]
    style_sheet([to_image(photo) for photo in photos], columns).save(out, quality=90)


def _image(name: str) -> str:
    return str(WORK / "images" / name)


def _rows() -> list[dict[str, object]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def _append(row: dict[str, object]) -> None:
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def _tinystyle(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "tinystyle", *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("images", "train", "add", "measure", "blends"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--only", help="name of one of the ten styles, for a network of its own")
    parser.add_argument("--model", default="ten_1600", help="folder of the run to add a style to, or to blend")
    parser.add_argument("--perceptual", default="narrow")
    parser.add_argument("--alpha", type=float, default=0.3)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--perceptual-weights", help="weights of VGG16, by default downloaded")
    parser.add_argument("--out", type=Path, default=WORK / "blends.jpg")
    given = parser.parse_args()
    if given.what == "images":
        images(given.data)
    elif given.what == "train":
        train(given)
    elif given.what == "add":
        add(given.model)
    elif given.what == "measure":
        measure(given.perceptual_weights)
    else:
        blends(given.model, given.out)


if __name__ == "__main__":
    main()
