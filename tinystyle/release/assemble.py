"""Makes the folder of a trained network that is logged, registered and published, with every file verified.

Does not depend on MLflow, object stores or flows.

    model/model.safetensors, model/run.json             the network, and the record of its training if there is one
    exports/STYLE-8.mlmodel, exports/STYLE-int4.mlpackage.zip   the exported files, named by their bits
    exports/FILE.md, exports/FILE.png                   card and preview beside each, FILE without .zip
    exports/StyleTransfer.swift                         runs the first Core ML file in an app, if there is one
    exports/files.json                                  list of the exported files (`tinystyle.release.bundle`)
    evaluation.json                                     report of the network's evaluation, if there is one
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from tinystyle import coreml
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.coreml.exporter.metadata import INPUT, OUTPUT
from tinystyle.coreml.package import content_sha256
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.exports import FORMATS, check_installed, check_sizes, platforms
from tinystyle.exports.export import export_model
from tinystyle.exports.verify import verify
from tinystyle.model_file import LoadedModel, save_model
from tinystyle.release.bundle import OWN_EVALUATOR, Bundle, ReleaseFile, check_files, check_name
from tinystyle.release.card import write_card
from tinystyle.release.package_zip import unpacked, zip_package
from tinystyle.release.swift import swift_source

if TYPE_CHECKING:
    from tinystyle.evaluation.model_report import ModelReport

__all__ = ["assemble"]


def assemble(
    model: LoadedModel,
    folder: Path,
    *,
    style: str,
    files: Sequence[str],
    size: str | ImageSizes,
    photos: Iterable[tuple[str, Image.Image]],
    preview: Image.Image | None = None,
    run_record: Path | None = None,
    report: ModelReport | None = None,
) -> list[ReleaseFile]:
    """Export and verify files of a network, each by its runtime, and write them to a folder with all files of a `Bundle`.

    The folder is written atomically. The same arguments give the same bytes.

    Args:
        model: the trained network.
        folder: the folder to write; must be absent or empty.
        style: registered name, [a-z0-9-]{1,60}; the files are named after it.
        files: names such as mlmodel-8, mlpackage-int4, onnx-8; see `tinystyle.release.bundle.FILES`.
        size: image sizes of the files, in a form that `ImageSizes.parse` accepts.
        photos: (name, RGB image) pairs to verify with, at least one.
        preview: picture for the model cards; None leaves it out.
        run_record: run.json of the training run; None leaves it out.
        report: report of the network's evaluation; None leaves it out.

    Returns:
        The entries of files.json, in the order of `files`.

    Raises:
        UserError: an argument is invalid or a package is not installed (raised before the first export), or an exported
            file does not match the network.
    """
    check_name(style)
    variants = check_files(list(files))
    sizes = ImageSizes.parse(size) if isinstance(size, str) else size
    for format, _, _ in variants:
        check_installed(format)
        check_sizes(format, sizes, model.network.stride)
    images = list(photos)
    if not images:
        raise UserError("there is no photo to verify with; give a folder of photographs")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; give a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name[:60]}.", suffix=".tmp", dir=folder.parent) as temporary:
        new = Bundle(Path(temporary) / "new")
        entries = [_add_file(model, new.exports, style, name, sizes, images, preview) for name in files]
        core_ml = next((entry for entry in entries if entry.format in coreml.FORMATS), None)
        if core_ml:
            first = read_model(unpacked(new.file(core_ml), Path(temporary) / "swift"))
            storage.write_bytes(new.swift, swift_source(first).encode())
        new.write_entries(entries)
        save_model(model.network, new.model, model.config, model.lineage)
        if run_record is not None and run_record.is_file():
            storage.copy(run_record, new.model.with_name(run_record.name))
        if report is not None:
            text = json.dumps(report.as_dict(), indent=2, sort_keys=True, allow_nan=False)
            storage.write_bytes(new.evaluation, text.encode() + b"\n")
        new.folder.replace(folder)  # works over an empty folder too
    return entries


def _add_file(
    model: LoadedModel,
    folder: Path,
    style: str,
    name: str,
    sizes: ImageSizes,
    photos: list[tuple[str, Image.Image]],
    preview: Image.Image | None,
) -> ReleaseFile:
    """Export, pack, verify what was packed, and write the card; `folder` then holds the file, its card and picture."""
    ((format, bits, ios),) = check_files([name])
    exported = export_model(
        model, format=format, bits=bits, size=sizes, out=folder / f"{style}-{name.partition('-')[2]}.{format}", ios=ios
    )
    download = _packed(exported.path)
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
        file = unpacked(download, Path(scratch))
        assert content_sha256(file) == content_sha256(exported.path)
        result = verify(file, model, photos)
        if not result.passed:
            # Without the path, which is temporary.
            raise UserError(f"{name} of {style} is {result.sentence().replace(f'{file}: ', '')}")
    assert result.worst is not None
    write_card(exported, model, preview=preview, verification=result.paragraph())
    if exported.path.is_dir():
        shutil.rmtree(exported.path)
    minimum_ios = exported.minimum_ios or FORMATS[format].minimum_ios
    return ReleaseFile(
        name=download.name,
        format=format,
        bits=bits,
        bytes=download.stat().st_size,
        sha256=storage.sha256(download),
        runtime=FORMATS[format].runtime,
        platforms=platforms(format, minimum_ios),
        verified_by=result.runtime or OWN_EVALUATOR,
        sizes=sizes,
        minimum_ios=minimum_ios,
        input=INPUT,
        output=OUTPUT,
        psnr=round(result.worst, 2),
    )


def _packed(path: Path) -> Path:
    """Return an exported file as one file: itself, or the zip of the package, which is made beside it."""
    return path if path.is_file() else zip_package(path, path.with_name(f"{path.name}.zip"))
