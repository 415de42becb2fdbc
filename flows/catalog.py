"""The style catalogue: which networks are to exist, and what a new version of one must reach. YAML in, checked models out.

Imports no torch; knows nothing of Prefect or of the model registry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tinystyle import styles
from tinystyle.config import PARAMETERS, NetworkConfig, RunConfig, flat, run_config
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError, complaint
from tinystyle.release.bundle import check_files

__all__ = ["Catalogue", "StyleEntry", "Training", "load_catalogue", "style_name"]

PHOTOS = "s3://coco/datasets/coco"
SET_BY_FLOWS = ("checkpoints", "track")
"""Parameters of a run that flows decide: each run's checkpoints have a folder of their own, and all are logged."""
_OF_ENTRIES = PARAMETERS.keys() - {"style", "alpha", *SET_BY_FLOWS}
"""Parameters of a run that an entry of a catalog may have; `image` and `alphas` are two others."""


def style_name(uri: str) -> str:
    """The name that a style has where none is given: that of its image, in a-z, 0-9 and dashes.

    Raises:
        ValueError: nothing of it is left.
    """
    stem = styles.image_name(uri).lower()
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:60].strip("-")
    if not name:
        raise UserError(f"style {uri}: no name follows from its image; give one with name")
    return name


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )


class Training(_Model):
    """One network to train, to export and to register."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,60}$")
    """Name of the registered model."""
    run: RunConfig
    files: list[str] = ["mlmodel-8"]
    """Core ML files, see `tinystyle.release.bundle.FILES`."""
    export_size: str = "640x480"
    """Image size of the Core ML files, as `ImageSizes.parse` takes it."""

    @field_validator("files")
    @classmethod
    def _known_files(cls, files: list[str]) -> list[str]:
        check_files(files)
        return files

    @field_validator("export_size")
    @classmethod
    def _size(cls, text: str) -> str:
        ImageSizes.parse(text)
        return text

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Training:
        """Make one from values by name: the parameters of a run, and the other fields; `name` follows from `style` if absent.

        Raises:
            UserError: a name is unknown or a value is not possible.
        """
        own = {name: values[name] for name in ("name", "files", "export_size") if name in values}
        run = run_config({"photos": PHOTOS, **{name: value for name, value in values.items() if name not in own}})
        try:
            return cls.model_validate({**own, "name": own.get("name") or style_name(run.style), "run": run})
        except ValidationError as error:
            raise UserError(complaint(error)) from error

    def values(self) -> dict[str, Any]:
        """The values by name that `of` makes the same one from."""
        parameters = {name: value for name, value in flat(self.run).items() if name not in SET_BY_FLOWS}
        return {**parameters, "name": self.name, "files": self.files, "export_size": self.export_size}

    def label(self) -> str:
        """For tables: name, architecture and alpha."""
        return f"{self.name} {self.run.network.architecture} {self.run.network.alpha:g}"


class StyleEntry(_Model):
    """One style of the catalog: how its networks are trained, and what they must reach."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,55}$")
    image: str
    """Path or URI, relative to the catalog's file; or `builtin:NAME`."""
    alphas: list[float] = Field(default=[NetworkConfig().alpha], min_length=1)
    """One network for each, a product of its own: with several, the registered models are called NAME-PERCENT."""
    formats: list[str] = ["mlmodel-8"]
    """Core ML files, see `tinystyle.release.bundle.FILES`."""
    export_size: str = "640x480"
    """Image size of the Core ML files, as `ImageSizes.parse` takes it."""
    budget_bytes: int | None = Field(default=None, ge=1)
    """Largest size of these files in bytes; None is no limit."""
    margin: float = Field(default=0.05, ge=0, le=1)
    """By what part of the champion's a new version's content, paint3 and paint4 on held-out photos may each be higher."""
    auto_promote: bool = False
    """Whether a version that passes the gates becomes the champion without anyone being asked."""
    enabled: bool = True
    """False leaves the style as it is."""
    parameters: dict[str, Any] = {}
    """Of the runs, by the names of `tinystyle.config.PARAMETERS`."""

    @model_validator(mode="before")
    @classmethod
    def _sorted(cls, values: Any) -> Any:
        """Parameters of a run stand beside the other values in a file."""
        own = {name: value for name, value in values.items() if name not in _OF_ENTRIES}
        return {**own, "parameters": {name: value for name, value in values.items() if name in _OF_ENTRIES}}

    @property
    def trainings(self) -> list[Training]:
        """One for each alpha.

        Raises:
            UserError: a value is not possible.
        """
        several = len(self.alphas) > 1
        return [
            Training.of(
                {
                    **self.parameters,
                    "style": self.image,
                    "alpha": alpha,
                    "name": f"{self.name}-{round(100 * alpha)}" if several else self.name,
                    "files": self.formats,
                    "export_size": self.export_size,
                }
            )
            for alpha in self.alphas
        ]


class Catalogue(_Model):
    """Styles, each name once."""

    styles: list[StyleEntry]

    @model_validator(mode="after")
    def _each_name_once(self) -> Catalogue:
        names = [training.name for entry in self.styles for training in entry.trainings]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"the name {twice[0]} stands there twice; each network needs one of its own")
        return self


def load_catalogue(uri: str) -> Catalogue:
    """Read a catalogue: a mapping with `styles`, a list of entries, and `defaults`, values that each entry starts from.

    Args:
        uri: path or URI of a YAML file.

    Raises:
        ValueError: it cannot be read, or what is wrong with which entry, in one sentence.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError("a style catalogue is read with PyYAML: pip install 'tinystyle[platform]'") from error
    try:
        content = yaml.safe_load(storage.read_bytes(uri))
    except OSError as error:
        raise UserError(f"the catalogue {uri} cannot be read ({error.strerror or error}); give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the catalogue {uri} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get("styles"), list) or content.keys() - _PARTS:
        raise UserError(f"the catalogue {uri} must hold a list `styles`, may hold `defaults`, and nothing else")
    defaults = content.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise UserError(f"the catalogue {uri}: defaults must be a mapping of values")
    entries = [_entry(uri, index, values, defaults) for index, values in enumerate(content["styles"])]
    try:
        return Catalogue(styles=entries)
    except ValidationError as error:
        raise UserError(f"the catalogue {uri}: {complaint(error)}") from error


_PARTS = {"styles", "defaults"}


def _entry(uri: str, index: int, values: Any, defaults: dict[str, Any]) -> StyleEntry:
    label = f"style {index + 1}"
    try:
        if not isinstance(values, dict):
            raise UserError("an entry must be a mapping with name and image")
        label = str(values.get("name", label))
        entry = StyleEntry.model_validate({**defaults, **values})
        entry = entry.model_copy(update={"image": _beside(uri, entry.image)})
        entry.trainings  # noqa: B018  whatever is not possible shows here
    except ValidationError as error:
        raise UserError(f"the catalogue {uri}, {label}: {complaint(error)}") from error
    except UserError as error:
        raise UserError(f"the catalogue {uri}, {label}: {error}") from error
    return entry


def _beside(uri: str, image: str) -> str:
    if styles.builtin_name(image) is not None or storage.is_remote(image) or Path(image).is_absolute():
        return image
    folder = uri.rpartition("/")[0]
    return storage.join(folder, image) if folder else image
