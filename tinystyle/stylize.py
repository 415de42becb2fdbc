"""Photos through a trained network, each to a PNG of the same size. Knows nothing of training or Core ML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from tinystyle import storage
from tinystyle.images import open_rgb
from tinystyle.model_file import LoadedModel
from tinystyle.nets.blocks import StyleNetwork

__all__ = ["stylize_photos"]


def stylize_photos(model: LoadedModel, photos: Sequence[str | Path], out: Path) -> list[Path]:
    """Stylise photos (paths or URIs) into the folder `out`: PNG files with the photos' names and, upright, their sizes.

    A photo that cannot be read does not keep the others from being done.

    Returns:
        The files written, in the order of `photos`.

    Raises:
        ValueError: before any work, if a photo is missing, two would get the same name, one would be overwritten or
            `out` is no folder; at the end, if photos could not be read, naming each.
    """
    targets = _targets(photos, out)
    network = model.network.eval().to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    failures = []
    for photo, target in targets.items():
        try:
            image = open_rgb(storage.read_bytes(photo), photo)
        except ValueError as error:
            failures.append(str(error))
            continue
        except OSError as error:
            failures.append(f"{photo}: cannot be read ({error.strerror or error})")
            continue
        with storage.atomic_path(target) as temporary:
            _stylize(network, image).save(temporary, format="PNG")
    if failures:
        raise ValueError(f"{len(failures)} of {len(targets)} photos could not be stylised: {'; '.join(failures)}")
    return list(targets.values())


def _targets(photos: Sequence[str | Path], out: Path) -> dict[str, Path]:
    """Photo -> file to write."""
    if not photos:
        raise ValueError("no photos given; name at least one")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; give a folder for the stylised photos")
    targets: dict[str, Path] = {}
    names: dict[str, str] = {}
    for photo in map(str, photos):
        if not storage.exists(photo):
            raise ValueError(f"{photo}: no such photo")
        if not storage.is_remote(photo) and not Path(photo).is_file():
            raise ValueError(f"{photo}: is a folder; name the photos in it")
        stem = PurePosixPath(photo).stem
        # Many file systems do not tell a.png from A.png.
        other = names.setdefault(stem.casefold(), photo)
        if photo in targets or other != photo:
            raise ValueError(f"{other} and {photo} would both become {stem}.png; stylise them into two folders")
        targets[photo] = out / f"{stem}.png"
        if targets[photo].exists() and targets[photo].resolve() == Path(photo).resolve():
            raise ValueError(f"{photo}: would be overwritten by its stylised version; give another folder")
    return targets


def _stylize(network: StyleNetwork, image: Image.Image) -> Image.Image:
    photo_hw3 = torch.from_numpy(np.array(image))
    photo_13hw = photo_hw3.permute(2, 0, 1)[None].to(torch.float32, memory_format=torch.channels_last)
    with torch.inference_mode():
        stylized_3hw = network(photo_13hw)[0].round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(stylized_3hw.permute(1, 2, 0).contiguous().numpy())
