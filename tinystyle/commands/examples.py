"""Command lines that the help of each command ends with; a test parses every one."""

from __future__ import annotations

__all__ = ["EXAMPLES"]

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("demo", "demo --out try"),
    "styles": ("styles", "styles --json"),
    "stylize": (
        "stylize pretrained:starry-night cat.jpg",
        "stylize runs/starry holiday/ -o painted --keep-colors",
        "stylize starry.mlmodel 'holiday/*.jpg' --max-side 1600",
        "stylize runs/two cat.jpg --style starry=0.5,wave=0.5",
    ),
    "video": (
        "video pretrained:starry-night cat.mp4 -o starry-cat.mp4",
        "video runs/starry cat.mov --max-side 960 --smoothing 0.95",
    ),
    "live": ("live pretrained:starry-night", "live runs/starry --camera cat.mp4 --max-side 480"),
    "ingest": ("ingest ~/photos dataset", "ingest s3://bucket/photos s3://bucket/dataset --size 512"),
    "train": (
        "train -s starry.jpg -p dataset -o runs/starry",
        "train -s builtin:wave -p dataset -o runs/wave --export wave.mlmodel",
        "train --config runs/starry/run.json -o runs/wide --alpha 0.5",
        "train --styles starry.jpg,wave.jpg -p dataset -o runs/two",
    ),
    "add-style": (
        "add-style runs/ten monet.jpg -o runs/eleven",
        "add-style runs/ten lily=monet.jpg -o more --steps 300",
    ),
    "report": ("report runs/starry", "report runs/starry -o starry.html"),
    "evaluate": ("evaluate runs/starry", "evaluate pretrained:great-wave -s wave.jpg -p ~/photos --json"),
    "export": (
        "export runs/starry -o starry.mlmodel",
        "export runs/starry -o starry.mlpackage --bits 4 --ios 18",
        "export runs/starry -o starry.onnx --size 256x256..1920x1920",
    ),
    "verify": ("verify starry.mlmodel -a runs/starry -p dataset",),
    "swift": ("swift starry.mlmodel", "swift starry.mlmodel -o StarryStyle.swift"),
    "web": (
        "web pretrained:starry-night",
        "web runs/starry pretrained:great-wave -o styles.html",
    ),
    "compare": (
        "compare pretrained:starry-night pretrained:great-wave -p ~/photos",
        "compare runs/starry runs/wide starry.mlmodel -p dataset -o all.jpg",
    ),
    "networks": ("networks", "networks --architecture small --alpha 0.3 --layers"),
    "frontier": ("frontier -s starry.jpg -p dataset -o frontier", "frontier -p dataset -o compared --collect runs"),
    "models": ("models", "models show starry", "models fetch starry --out starry"),
    "models show": ("models show starry", "models show starry 3 --json"),
    "models fetch": ("models fetch starry --out starry", "models fetch starry candidate --out try"),
    "promote": ("promote starry 3 --reason 'better sky'",),
    "publish": ("publish starry", "publish starry --root s3://apps/models --version 3"),
    "published": ("published", "published starry --links 24"),
    "rollback": ("rollback starry", "rollback starry --version 2 --reason 'version 3 is too dark'"),
    "doctor": ("doctor",),
}
"""Name of a command -> command lines without the leading `tinystyle`."""
