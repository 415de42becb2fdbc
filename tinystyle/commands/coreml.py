"""`tinystyle export`, `verify` and `swift`: files of a trained network, and Swift for them, for use in an app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tinystyle import exports
from tinystyle.commands.arguments import MODEL_HELP, STYLE_HELP, check_core_ml, check_exported, check_network
from tinystyle.commands.terminal import FAILED, photo_progress, say, screen
from tinystyle.coreml import IOS
from tinystyle.coreml.verification import MAX_PHOTOS
from tinystyle.errors import UserError

PROOF_PHOTOS = 8
"""Photos on which `train --export` proves a file; `verify` has more time."""

__all__ = ["check_export", "export", "export_verified", "swift", "verify"]


def export(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="File to write: NAME.mlmodel (Core ML, neural network, smallest), NAME.mlpackage (Core ML, ML Program), "
            "NAME.aimodel (Core AI, iOS 27) or NAME.onnx (ONNX Runtime: Android, Windows, the web).",
        ),
    ],
    style: Annotated[str | None, typer.Option("--style", "-s", help=STYLE_HELP)] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="|".join(exports.FORMATS), help="Format. [default: the one that the name of OUT ends in]"),
    ] = None,
    bits: Annotated[
        int,
        typer.Option(
            "--bits",
            "-b",
            metavar="|".join(map(str, exports.FORMATS["mlmodel"].bits)),
            help="Bits per convolution weight; an .onnx has 32, 16 or 8.",
        ),
    ] = 8,
    size: Annotated[
        str,
        typer.Option(
            help="Image size, WIDTHxHEIGHT in pixels. An .mlpackage and an .onnx can also accept several sizes, "
            "W1xH1,W2xH2, or a range, W1xH1..W2xH2.",
        ),
    ] = "640x480",
    ios: Annotated[
        int,
        typer.Option(
            metavar="|".join(map(str, IOS)),
            help="Oldest iOS version that must run the file; 18 stores the 4-bit weights of an .mlpackage as int4.",
        ),
    ] = 16,
    compute: Annotated[
        str | None,
        typer.Option(
            metavar="float16|float32",
            help="Precision that the file computes in, except an .mlmodel. [default: float32 at 32 bits, otherwise float16; "
            "an .onnx of 8 bits: float32]",
        ),
    ] = None,
    card: Annotated[bool, typer.Option(help="Write the model card, OUT.md, beside the file.")] = True,
    preview: Annotated[
        str | None,
        typer.Option(help="Photo to stylize for the model card. [default: the last preview of the training run]"),
    ] = None,
) -> None:
    """Write a file of a trained network for apps, and its model card.

    The file takes an image and returns a stylized one. Of a network of many styles, without --style, a file of any
    format but .mlpackage takes the share of each style too, and has no card.
    """
    from tinystyle.coreml.sizes import ImageSizes

    check_network(model, "export")
    format = exports.format_of(out, format)
    exports.check_format(format, bits, ios)
    sizes = ImageSizes.parse(size)
    if preview and not card:
        raise UserError("--preview is a picture for the card; leave out --no-card")
    from tinystyle.training.run_model import model_of

    model = model_of(model, style)  # before anything imports torch
    from tinystyle.data.storage import check_writable
    from tinystyle.exports.export import export_model
    from tinystyle.model_file import load_model, load_styles
    from tinystyle.release.card import newest_preview, remove_card, stylized_preview, write_card
    from tinystyle.release.swift_names import model_name_hint

    check_writable(out.parent)
    if many := load_styles(model):
        result = export_model(many, format=format, bits=bits, size=sizes, out=out, ios=ios, compute=compute)
        screen.print(f"{result.path}: {result.bytes:,} bytes, {len(many.names)} styles", soft_wrap=True)
        remove_card(out)
        return
    loaded = load_model(model)
    picture = stylized_preview(loaded, preview) if preview else newest_preview(model)
    result = export_model(loaded, format=format, bits=bits, size=sizes, out=out, ios=ios, compute=compute)
    screen.print(f"{result.path}: {result.bytes:,} bytes", soft_wrap=True)
    if hint := None if exports.FORMATS[format].exporter else model_name_hint(out):
        say(hint)
    if card:
        screen.print(f"{write_card(result, loaded, preview=picture)}: model card", soft_wrap=True)
    else:
        remove_card(out)


def check_export(out: Path) -> None:
    """Check that `export_verified` can write `out`, before hours of training.

    Raises:
        UserError: its name ends in no format's suffix, or the format's package is missing.
        OSError: its folder cannot be written to.
    """
    from tinystyle.data.storage import check_writable

    exports.check_installed(exports.format_of(out))
    check_writable(out.parent)


def export_verified(model: str, out: Path, photos: str) -> None:
    """Write a file of 8 bits for 640x480 with its card, as `export` does, and prove it, as `verify` does.

    Args:
        model: the trained network.
        out: file to write; its name ends in the format.
        photos: a dataset, on whose held-out photos the file is compared with the network.

    Raises:
        typer.Exit: the file is not the network.
    """
    from tinystyle.exports.export import export_model
    from tinystyle.exports.verify import verify as prove
    from tinystyle.model_file import load_model
    from tinystyle.release.card import newest_preview, write_card
    from tinystyle.stylize.sample_photos import verification_photos

    loaded = load_model(model)
    result = export_model(loaded, bits=8, size=(640, 480), out=out)
    proof = prove(out, loaded, verification_photos(photos, PROOF_PHOTOS), against=model)
    write_card(result, loaded, preview=newest_preview(model), verification=proof.paragraph())
    screen.print(f"{out}: {result.bytes:,} bytes; {proof.sentence()}", soft_wrap=True)
    if not proof.passed:
        raise typer.Exit(FAILED)


def verify(
    file: Annotated[Path, typer.Argument(help="File that was exported: .mlmodel, .mlpackage, .aimodel or .onnx.")],
    against: Annotated[
        str,
        typer.Option(
            "--against",
            "-a",
            help="Trained network that FILE was exported from: the folder of a run, model.safetensors, a checkpoint, or "
            "pretrained:NAME.",
        ),
    ],
    photos: Annotated[
        str,
        typer.Option(
            "--photos", "-p", help="Photos to compare on: a folder, or a dataset, whose held-out photos are used."
        ),
    ],
    style: Annotated[str | None, typer.Option("--style", "-s", help=STYLE_HELP)] = None,
    min_psnr: Annotated[
        float | None,
        typer.Option(
            help="Minimum PSNR, in dB, of the file's output against the network's, for every photo. "
            "[default: 50 at 32 and 16 bits, 40 at 8, 35 at 6, none at 4]"
        ),
    ] = None,
    max_photos: Annotated[int, typer.Option(help="Maximum number of photos, evenly spaced.", min=1)] = MAX_PHOTOS,
    device: Annotated[bool, typer.Option("--device", help="Also predict with Core ML itself (macOS only).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Prove that an exported file is the trained network.

    Every weight is compared, then the output for every photo, on any machine: a Core ML file is read back and evaluated
    in torch, an .aimodel is run by Apple's Core AI runtime, an .onnx by ONNX Runtime. The result is added to the model
    card beside FILE. The exit code is 1 if the file is not the network.
    """
    check_exported(file, against)
    check_network(against, "verify --against")
    from tinystyle.training.run_model import model_of

    against = model_of(against, style)  # before anything imports torch
    from tinystyle.exports.verify import verify as run
    from tinystyle.model_file import load_model, load_styles
    from tinystyle.release.card import record_verification
    from tinystyle.stylize.sample_photos import verification_photos

    model, images = load_styles(against) or load_model(against), verification_photos(photos, max_photos)
    table = Table("photo")
    for name in ("PSNR, dB", "in float16", "largest error, gray levels", *(["Core ML"] if device else [])):
        table.add_column(name, justify="right")
    with photo_progress() as progress:
        result = run(
            file, model, images, against=against, min_psnr=min_psnr, device=device, progress=lambda n: progress(n, n, 0)
        )
    for photo in result.photos:
        figures = (photo.psnr, photo.psnr_float16, photo.max_error, *([photo.psnr_device] if device else []))
        table.add_row(photo.name, *(f"{figure:.2f}" for figure in figures if figure is not None))
    record_verification(file, result.paragraph())
    if as_json:
        screen.print_json(data=result.as_dict())
    else:
        if result.photos:
            screen.print(table)
        screen.print(f"{file}: {result.sentence()}", soft_wrap=True)
    if not result.passed:
        raise typer.Exit(FAILED)


def swift(
    file: Annotated[Path, typer.Argument(help="Core ML file: .mlmodel or .mlpackage.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Swift file to write; the class is named after it.")] = Path(
        "StyleTransfer.swift"
    ),
) -> None:
    """Write a Swift file that runs a Core ML file in an app."""
    check_core_ml(file)
    from tinystyle.coreml.evaluator.model import read_model
    from tinystyle.data.storage import check_writable, write_bytes
    from tinystyle.release.swift import class_name, swift_source

    name = class_name(out)
    source = swift_source(read_model(file), name)
    check_writable(out.parent)
    write_bytes(out, source.encode())
    screen.print(f"{out}: class {name}, to be added to the app beside {file.name}", soft_wrap=True)
