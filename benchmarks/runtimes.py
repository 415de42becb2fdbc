"""Prints what the runtimes of every format make of the styles that ship, beside torch and beside each other.

    python benchmarks/runtimes.py PHOTO [PHOTO...]

Each style is exported at 640x480 as Core AI, ONNX and Core ML. Core AI files are executed by Apple's runtime, ONNX files
by ONNX Runtime, Core ML files by our own evaluator. Differences are in gray levels of 0..255, the largest of all pixels
of all photos; PSNR, in dB, is the lowest of a photo.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from tinystyle.coreml.evaluator.model import read_model
from tinystyle.exports.core_ai.saved_file import read as read_core_ai
from tinystyle.exports.export import export_model
from tinystyle.exports.onnx_file.saved_file import read as read_onnx
from tinystyle.model_file import load_model
from tinystyle.styles import pretrained

SIZE = (640, 480)
FILES: tuple[tuple[str, str, int], ...] = (
    ("Core AI", "aimodel", 32), ("Core AI", "aimodel", 16), ("Core AI", "aimodel", 8),
    ("ONNX", "onnx", 32), ("ONNX", "onnx", 16), ("ONNX", "onnx", 8),
    ("Core ML", "mlpackage", 32), ("Core ML", "mlpackage", 16), ("Core ML", "mlpackage", 8),
)  # fmt: skip
READERS: dict[str, Any] = {"aimodel": read_core_ai, "onnx": read_onnx, "mlpackage": read_model}


def psnr(one: Tensor, other: Tensor) -> float:
    """PSNR of two images in dB; infinite if they are equal."""
    square = float((one - other).double().square().mean())
    return 10 * math.log10(255**2 / square) if square else math.inf


def row(pairs: list[tuple[Tensor, Tensor]]) -> str:
    """Largest difference and lowest PSNR of pairs of images."""
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    return f"{difference:.4f} ({min(psnr(*pair) for pair in pairs):.1f} dB)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    photos = [
        torch.from_numpy(np.array(ImageOps.fit(Image.open(path).convert("RGB"), SIZE))).permute(2, 0, 1)[None].float()
        for path in parser.parse_args().photos
    ]
    print(f"| style | {' | '.join(f'{name}, {bits} bits' for name, _, bits in FILES)} |")
    print(f"|---|{'---:|' * len(FILES)}")
    results: dict[tuple[str, str, int], list[Tensor]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for style in pretrained.names():
            model = load_model(f"pretrained:{style}")
            with torch.inference_mode():
                expected = [model.network(photo) for photo in photos]
            cells = []
            for _, format, bits in FILES:
                out = Path(folder) / f"{style}-{bits}.{format}"
                bytes_ = export_model(model, bits=bits, size=SIZE, out=out).bytes
                file = READERS[format](out)
                outputs = [file.run(photo) for photo in photos]
                results[style, format, bits] = outputs
                cells.append(f"{row(list(zip(outputs, expected, strict=True)))}, {bytes_:,} bytes")
            print(f"| {style} | {' | '.join(cells)} |", flush=True)
    names = {"aimodel": "Core AI", "onnx": "ONNX", "mlpackage": "Core ML"}
    print("\n| of all styles | 32 bits | 16 bits |\n|---|---:|---:|")
    for one, other in itertools.combinations(names, 2):
        cells = []
        for bits in (32, 16):
            pairs: list[tuple[Tensor, Tensor]] = []
            for style in pretrained.names():
                pairs += zip(results[style, one, bits], results[style, other, bits], strict=True)
            cells.append(row(pairs))
        print(f"| {names[one]} and {names[other]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
