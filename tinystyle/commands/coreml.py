"""`tinystyle export`: from a trained network to what an app takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinystyle.commands.terminal import screen

__all__ = ["export"]


def export(
    model: Annotated[str, typer.Argument(help="model.safetensors or a checkpoint.")],
    format: Annotated[str, typer.Option(help="mlmodel (smallest) or mlpackage (ML Program).")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    bits: Annotated[int, typer.Option(help="Per weight: 32, 16, 8, 6 or 4.")] = 8,
    size: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT; of an .mlpackage also several, W1xH1,W2xH2, or a range, W1xH1..W2xH2.")
    ] = "640x480",
    ios: Annotated[int, typer.Option(help="Oldest iOS that must run the file, 16 or 18; 18: 4 bits are int4.")] = 16,
    compute: Annotated[
        str | None, typer.Option(help="Of an .mlpackage: float16 or float32. [default: float32 only at 32 bits]")
    ] = None,
    card: Annotated[bool, typer.Option(help="Write OUT.md, the model card, beside the file.")] = True,
    preview: Annotated[
        str | None, typer.Option(help="Photo to stylise for the card. [default: the run's last preview]")
    ] = None,
) -> None:
    """Write a Core ML file that takes an image and returns one, and a model card beside it."""
    from tinystyle.coreml.sizes import ImageSizes

    sizes = ImageSizes.parse(size)
    if preview and not card:
        raise ValueError("--preview is a picture for the card; leave out --no-card")
    from tinystyle.coreml.card import newest_preview, remove_card, stylised_preview, write_card
    from tinystyle.coreml.convert import export_model
    from tinystyle.model_file import load_model
    from tinystyle.storage import check_writable

    check_writable(out.parent)
    loaded = load_model(model)
    picture = stylised_preview(loaded, preview) if preview else newest_preview(model)
    result = export_model(loaded, format=format, bits=bits, size=sizes, out=out, ios=ios, compute=compute)
    screen.print(f"{result.path}: {result.bytes:,} bytes", soft_wrap=True)
    if card:
        screen.print(f"{write_card(result, loaded, preview=picture)}: model card", soft_wrap=True)
    else:
        remove_card(out)
