"""`tinystyle compare`: photos in several styles, or by several networks of one style, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from tinystyle.commands.arguments import IMAGES, check_photos
from tinystyle.commands.terminal import photo_progress, screen
from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError

if TYPE_CHECKING:
    from tinystyle.stylize import Model

__all__ = ["compare"]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_WIDTH, _WIDEST = 1840, 600
"""Width of all columns together, and of one at most, in pixels."""
_PROPORTION = 0.8
"""Height of a picture on the sheet, divided by its width."""
_MOST = 8


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more trained networks or Core ML files: folders of runs, model.safetensors, checkpoints, .mlmodel, "
            ".mlpackage, or pretrained:NAME. One is compared with the photos alone."
        ),
    ],
    photos: Annotated[
        str,
        typer.Option(
            "--photos",
            "-p",
            help="Photos: a dataset, whose held-out photos are used; or a file, folder, URI or pattern.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture: .png, .jpg or .webp.")] = Path(
        "comparison.png"
    ),
    max_photos: Annotated[int, typer.Option(help="Maximum number of photos, evenly spaced.", min=1, max=64)] = 6,
    max_side: Annotated[
        int, typer.Option(help="Maximum longer side, in pixels, at which photos are stylized.", min=32, max=4096)
    ] = 800,
) -> None:
    """Draw photos beside what several models make of them.

    Each model has a column, with its name and size. Pictures are cropped to one shape on the sheet.
    """
    path = local_only(out, "`out`")
    format_ = _FORMATS.get(path.suffix.lower())
    if not format_:
        raise UserError(f"`out` {out}: give a file that ends in {', '.join(_FORMATS)}")
    if len(models) > _MOST:
        raise UserError(f"{len(models)} models do not fit on one sheet; give at most {_MOST}")
    for name in models:
        if PurePosixPath(name).suffix.lower() in IMAGES:
            raise UserError(f"{name} is an image, not a model; name photos with `photos`")
    check_photos(models[0], [photos])
    from tinystyle.data import storage
    from tinystyle.training.run_model import model_of

    found = [model_of(model) for model in models]  # before anything imports torch
    storage.check_writable(path.parent)
    from PIL import Image

    from tinystyle.data.contact_sheet import style_sheet
    from tinystyle.stylize import open_model, stylize_image
    from tinystyle.stylize.photos import find_photos
    from tinystyle.stylize.picture import scaled_size
    from tinystyle.stylize.sample_photos import verification_photos
    from tinystyle.stylize.targets import refuse_overwriting

    opened = [open_model(model) for model in found]
    width = min(_WIDEST, _WIDTH // (1 + len(models)))
    samples = verification_photos(photos, max_photos)
    if not storage.is_remote(photos) and not storage.exists(storage.join(photos, "manifest.json")):
        refuse_overwriting(find_photos([photos]), [path])
    shown = [photo.resize(scaled_size(photo.size, max_side), Image.Resampling.LANCZOS) for _, photo in samples]
    if not shown:
        raise UserError(f"`photos` {photos}: none of them can be read")
    headings = [f"{name}\n{_cost(model)}" for name, model in zip(_names(models), opened, strict=True)]
    columns: dict[str, list[Image.Image]] = {heading: [] for heading in headings}
    with photo_progress() as progress:
        for done, photo in enumerate(shown, start=1):
            for column, model in zip(columns.values(), opened, strict=True):
                column.append(stylize_image(model, photo))
            progress(done, len(shown), 0)
    sheet = style_sheet(shown, columns, (width, round(_PROPORTION * width)))
    with storage.atomic_path(path) as temporary:
        sheet.save(temporary, format=format_, quality=90)
    screen.print(str(path), soft_wrap=True)


def _names(models: Sequence[str]) -> list[str]:
    """Return the models' names without their folders, as far as they differ then."""
    short = [_short(model) for model in models]
    names = [model if short.count(name) > 1 else name for model, name in zip(models, short, strict=True)]
    return [name if names.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(names, start=1)]


def _short(model: str) -> str:
    from tinystyle.styles.pretrained import PREFIX

    parts = model.removeprefix(PREFIX).rstrip("/").split("/")
    generic = parts[-1] in ("model.safetensors", "best.ckpt", "last.ckpt", "run.json") and len(parts) > 1
    return parts[-2] if generic else parts[-1]


def _cost(model: Model) -> str:
    from tinystyle.model_file import LoadedModel

    if isinstance(model, LoadedModel):
        weights = sum(weight.numel() for weight in model.network.parameters())
        return f"{model.config.architecture} {model.config.alpha:g}, {weights:,} weights"
    return f"Core ML, {model.bits} bits"
