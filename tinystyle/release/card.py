"""Writes model cards: a Markdown file, and perhaps a preview picture, beside an exported file, for users of that file.

A card contains no date, so the same file always has the same card.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image

from tinystyle import __version__
from tinystyle.coreml.exporter.metadata import LICENSE, title
from tinystyle.coreml.package import content_sha256
from tinystyle.data import storage
from tinystyle.data.contact_sheet import preview_strip
from tinystyle.data.images import open_rgb
from tinystyle.errors import UserError
from tinystyle.exports import FORMATS
from tinystyle.model_file import LoadedModel
from tinystyle.nets.cost import network_cost
from tinystyle.styles import selection
from tinystyle.styles.pretrained import is_pretrained
from tinystyle.stylize import stylize_image

if TYPE_CHECKING:
    from tinystyle.coreml.exporter.convert import ExportResult

__all__ = ["newest_preview", "record_verification", "remove_card", "stylized_preview", "write_card"]

PREVIEW_SIDE = 640
"""Longer side, in pixels, of a photo that is stylized for a model card."""
_LAST_SECTION = "\n## Verification\n\n"
_NOT_RUN = "Not run on Apple hardware."
_USE = (
    "With Vision: a `VNCoreMLRequest` with `imageCropAndScaleOption = .scaleFill` resizes any picture to the "
    "default size and returns a `VNPixelBufferObservation`.\n"
    "Without: give `image` a `CVPixelBuffer` of a size from the table, and read `stylized`."
)


def write_card(
    result: ExportResult, model: LoadedModel, *, preview: Image.Image | None, verification: str | None = None
) -> Path:
    """Write a model card, `<file name>.md`, beside an exported file, and `<file name>.png` if there is a `preview`.

    Args:
        result: the exported file.
        model: the model that it was exported from.
        preview: picture of photos and stylized photos; None removes the picture of an earlier card.
        verification: text about the verification; by default it says that the file is not verified yet.

    Returns:
        Path of the card.
    """
    card, picture = _paths(result.path)
    if preview is None:
        picture.unlink(missing_ok=True)
    else:
        with storage.atomic_path(picture) as temporary:
            preview.save(temporary, format="PNG")
    text = _text(result, model, picture if preview else None)
    storage.write_bytes(card, (text + _verification(verification or _unverified(result))).encode())
    return card


def record_verification(path: Path, text: str) -> Path | None:
    """Replace the section on verification, the last one, in the model card beside the exported file `path`.

    If there is no card, or it describes a file with other content, do nothing.

    Args:
        path: the Core ML file.
        text: new text of the section.

    Returns:
        Path of the card; None if nothing was done.
    """
    card, _ = _paths(path)
    if not card.is_file():
        return None
    before = card.read_text(encoding="utf-8").partition(_LAST_SECTION)[0]
    if content_sha256(path) not in before:
        return None
    storage.write_bytes(card, (before + _verification(text)).encode())
    return card


def remove_card(path: Path) -> None:
    """Remove the model card beside the Core ML file `path`, and its picture, if any; they may describe another file."""
    for file in _paths(path):
        file.unlink(missing_ok=True)


def newest_preview(model: str) -> Image.Image | None:
    """Return the newest preview of the training run, from `previews/` beside the model file; None if there is none.

    Nor of a style of many: the preview shows all of them.
    """
    if selection.split(model)[1] is not None or storage.is_remote(model) or is_pretrained(model):
        return None
    folder = storage.local_path(model).parent / "previews"
    for path in sorted(folder.glob("*.png"), reverse=True):
        with contextlib.suppress(ValueError, OSError):
            return open_rgb(path.read_bytes(), str(path))
    return None


def stylized_preview(model: LoadedModel, photo: str) -> Image.Image:
    """Draw a photo and its stylized version side by side.

    Raises:
        UserError: the photo is missing or cannot be read.
    """
    try:
        image = open_rgb(storage.read_bytes(photo), photo)
    except OSError as error:
        raise UserError(f"{photo}: cannot be read ({error.strerror or error}); give a photograph") from error
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS)
    return preview_strip([image], [stylize_image(model, image)], height=image.height)


def _paths(path: Path) -> tuple[Path, Path]:
    """Return the paths of the card and of its picture."""
    return path.with_name(f"{path.name}.md"), path.with_name(f"{path.name}.png")


def _text(result: ExportResult, model: LoadedModel, picture: Path | None) -> str:
    width, height = result.size
    cost = network_cost(model.network, width, height)
    rows = {
        "format": FORMATS[result.format].kind,
        "bits per convolution weight": f"{result.bits}, {_encoding(result)}",
        "bytes": f"{result.bytes:,}",
        "SHA-256": f"`{content_sha256(result.path)}`",
        "image sizes, width x height": f"{result.sizes}"
        + ("" if result.sizes.kind == "fixed" else f"; by default {width}x{height}"),
        "computes in": result.compute or "what the device decides",
        "runs on": f"iOS {result.minimum_ios} and later" if result.minimum_ios else FORMATS[result.format].runs_on,
        "input": "`image`, RGB" if result.minimum_ios else f"`image`, {FORMATS[result.format].layout}",
        "output": "`stylized`, RGB" if result.minimum_ios else "`stylized`, as the input",
        "weights": f"{cost.weights:,}",
        f"multiply-accumulates at {width}x{height}": f"{cost.macs:,}",
    }
    name = " ".join(result.path.name.split())
    notes = [
        "Of an .mlpackage, SHA-256 is that of the lines `SHA-256, two spaces, relative path` of its files, by path: "
        "inside of it, `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`."
        if result.format == "mlpackage"
        else "",
        f"In the range, any side will do, also one that is not a multiple of {model.network.stride}."
        if result.sizes.kind == "ranged"
        else "",
    ]
    lineage = json.dumps(model.lineage, indent=4, sort_keys=True)
    parts = [
        f"# {name}",
        f"![photo and stylized photo]({quote(picture.name)})" if picture else "",
        f"A style-transfer network for {FORMATS[result.format].runtime} ({title(model)}), made by tinystyle "
        f"{__version__}: it takes an image and returns it in the style of another.",
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]),
        *notes,
        "## Use",
        _USE if result.minimum_ios else FORMATS[result.format].use,
        "## Lineage",
        # Indented, not fenced: no value can end the block.
        "\n".join(f"    {line}" for line in lineage.split("\n")),
        "## License",
        f"{LICENSE}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _encoding(result: ExportResult) -> str:
    if result.bits >= 16:
        return "floating point"
    if result.format == "mlpackage" and result.bits < 8 and result.minimum_ios < 18:
        return f"a palette of {2**result.bits} values per convolution"
    return "linear per output channel"


def _unverified(result: ExportResult) -> str:
    command = f"tinystyle verify {result.path.name} --against MODEL --photos DIR"
    return f"Not verified yet: run `{command}`.\n\n{_NOT_RUN if result.minimum_ios else 'Not run on a phone.'}"


def _verification(text: str) -> str:
    return f"{_LAST_SECTION}{text.strip()}\n"
