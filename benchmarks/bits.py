"""Measures what fewer bits cost: every Core ML format and number of bits against the float network, on held-out photos.

    python benchmarks/bits.py MODEL... --photos DATASET [--size 320x240] [--picture FILE]

Every file is verified like a user's, including its weights, but without a PSNR limit. MODEL is a model.safetensors or a
.ckpt; DATASET is a folder that `tinystyle ingest` wrote. For each model, the picture shows the float network beside 4
bits.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from tinystyle.coreml import VARIANTS
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.coreml.verification.verify import verify
from tinystyle.data.contact_sheet import preview_strip
from tinystyle.model_file import LoadedModel, load_model
from tinystyle.stylize.sample_photos import verification_photos

SHOWN = 2
"""Number of photos per model in the picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--photos", required=True)
    parser.add_argument("--size", type=ImageSizes.parse, default="320x240")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    photos = list(verification_photos(arguments.photos, most=1000))
    print(f"{len(photos)} photos\n")
    print("| network | format | bits | bytes | PSNR in dB: worst photo | median | worst in float16 |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    strips = []
    for file in arguments.models:
        model = load_model(file)
        with tempfile.TemporaryDirectory() as folder:
            for format, bits, ios in VARIANTS:
                out = Path(folder) / f"{bits}-{ios}.{format}"
                exported = export_model(model, format=format, bits=bits, size=arguments.size, out=out, ios=ios)
                result = verify(out, model, photos, min_psnr=0)
                if not result.passed:
                    raise SystemExit(result.sentence())
                decibels = [photo.psnr for photo in result.photos]
                half = min(photo.psnr_float16 for photo in result.photos)
                print(
                    f"| {model.config.architecture} {model.config.alpha:g} | {format}{', int4' if ios == 18 else ''} | {bits} "
                    f"| {exported.bytes:,} | {min(decibels):.1f} | {statistics.median(decibels):.1f} | {half:.1f} |",
                    flush=True,
                )
            strips.append(beside_float(model, Path(folder) / "4-16.mlmodel", [photo for _, photo in photos]))
    if arguments.picture:
        sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
        for index, strip in enumerate(strips):
            sheet.paste(strip, (0, sum(s.height for s in strips[:index])))
        sheet.save(arguments.picture)


@torch.inference_mode()
def beside_float(model: LoadedModel, path: Path, photos: list[Image.Image]) -> Image.Image:
    """Stylize the first photos, and show the results of the network beside those of the file."""
    file = read_model(path)
    pairs: list[tuple[Image.Image, Image.Image]] = []
    for photo in photos[:: max(1, len(photos) // SHOWN)][:SHOWN]:
        pixels = np.array(ImageOps.fit(photo.convert("RGB"), file.sizes.default, Image.Resampling.LANCZOS))
        photo_13hw = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        pairs.append((as_image(model.network(photo_13hw)), as_image(file.run(photo_13hw))))
    exact, coarse = zip(*pairs, strict=True)
    return preview_strip(exact, coarse, height=file.sizes.default[1])


def as_image(image_13hw: torch.Tensor) -> Image.Image:
    return Image.fromarray(image_13hw[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


if __name__ == "__main__":
    main()
