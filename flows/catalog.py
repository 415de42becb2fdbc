"""The style catalog, read from YAML: which networks should exist, and what a new version must achieve.

Imports no torch; independent of Prefect and of the model registry.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tinystyle import styles
from tinystyle.config import PARAMETERS, NetworkConfig, RunConfig, flat, run_config
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError, complaint, sentence, shortened
from tinystyle.release.bundle import check_files

__all__ = ["Catalog", "StyleEntry", "Training", "load_catalog", "style_name"]

PHOTOS = "s3://coco/datasets/coco"
LIMIT = (1_000_000, 60.0)
"""Largest catalog in bytes, and the time in seconds that a web server has to send it."""
MAX_ALIASES = 100
SET_BY_FLOWS = ("checkpoints", "track", "styles", "freeze_trunk")
"""Run parameters that flows set: every run has its own checkpoint folder, all runs are tracked, and a model of the
registry has one style."""
_OF_ENTRIES = PARAMETERS.keys() - {"style", "alpha", *SET_BY_FLOWS}
"""Run parameters that a catalog entry may have; its `image` and `alphas` set style and alpha."""


def style_name(uri: str) -> str:
    """Return the default name of a style: its image's name in lowercase, with dashes for all but a-z and 0-9.

    At most 60 characters are kept.

    Raises:
        UserError: the image's name has none of these characters.
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
    """One network to train, export and register."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,60}$")
    """Name of the registered model."""
    run: RunConfig
    files: list[str] = ["mlmodel-8"]
    """Files to export; see `tinystyle.release.bundle.FILES`."""
    export_size: str = "640x480"
    """Image size of these files, in a form that `ImageSizes.parse` accepts."""

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
        """Create one from run parameters and other fields, by name. By default `name` is derived from `style`.

        Raises:
            UserError: a name is unknown, a value is invalid, or `style` is missing.
        """
        own = {name: values[name] for name in ("name", "files", "export_size") if name in values}
        run = run_config({"photos": PHOTOS, **{name: value for name, value in values.items() if name not in own}})
        try:
            return cls.model_validate({**own, "name": own.get("name") or style_name(run.style), "run": run})
        except ValidationError as error:
            raise UserError(complaint(error)) from error

    def values(self) -> dict[str, Any]:
        """Return the values by name, from which `of` creates an equal object."""
        parameters = {name: value for name, value in flat(self.run).items() if name not in SET_BY_FLOWS}
        return {**parameters, "name": self.name, "files": self.files, "export_size": self.export_size}

    def label(self) -> str:
        """Return name, architecture and alpha, for tables."""
        return f"{self.name} {self.run.network.architecture} {self.run.network.alpha:g}"


class StyleEntry(_Model):
    """One style of the catalog: how to train its networks, and what they must achieve."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,55}$")
    image: str
    """Path or URI, relative to the catalog file; or `builtin:NAME`."""
    alphas: list[float] = Field(default=[NetworkConfig().alpha], min_length=1)
    """Width multipliers, one network each. If there are several, the registered models are called NAME-PERCENT."""
    formats: list[str] = ["mlmodel-8"]
    """Files to export; see `tinystyle.release.bundle.FILES`."""
    export_size: str = "640x480"
    """Image size of these files, in a form that `ImageSizes.parse` accepts."""
    budget_bytes: int | None = Field(default=None, ge=1)
    """Maximum size of each exported file in bytes; None means no limit."""
    margin: float = Field(default=0.05, ge=0, le=1)
    """Fraction by which content, paint3 and paint4 on held-out photos may each be higher than the champion's."""
    auto_promote: bool = False
    """Whether a version that passes the gates becomes the champion without human approval."""
    enabled: bool = True
    """False excludes the style from retraining and leaves its versions unchanged."""
    parameters: dict[str, Any] = {}
    """Run parameters, by the names of `tinystyle.config.PARAMETERS`."""

    @model_validator(mode="before")
    @classmethod
    def _sorted(cls, values: Any) -> Any:
        """Move the run parameters, which are beside the other values in a catalog file, into `parameters`."""
        own = {name: value for name, value in values.items() if name not in _OF_ENTRIES}
        return {**own, "parameters": {name: value for name, value in values.items() if name in _OF_ENTRIES}}

    @property
    def trainings(self) -> list[Training]:
        """One training for each alpha.

        Raises:
            UserError: a value is invalid.
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


@dataclass(frozen=True)
class Catalog:
    """The styles of a catalog. All names of networks are unique."""

    styles: list[StyleEntry]
    refused: dict[str, str]
    """Why an entry is not in `styles`, in one sentence, by its name, or "style N" if it has none."""


def load_catalog(uri: str) -> Catalog:
    """Read a catalog: a mapping with `styles`, a list of entries, and optionally `defaults`, shared by all entries.

    An invalid entry is refused and does not affect the others. Entries that share the name of a network are all refused.

    Args:
        uri: path or URI of a YAML file.

    Raises:
        UserError: the file cannot be read, or is no such mapping.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError("a style catalog is read with PyYAML: pip install 'tinystyle[platform]'") from error
    try:
        content = _parsed(storage.read_bytes(uri, LIMIT).decode())
    except OSError as error:
        raise UserError(f"the catalog {uri} cannot be read ({error.strerror or error}); give a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"the catalog {uri} is not valid YAML: {shortened(' '.join(str(error).split()), 300)}"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("styles"), list) or content.keys() - _PARTS:
        raise UserError(f"the catalog {uri} must hold a list `styles`, may hold `defaults`, and nothing else")
    defaults = content.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise UserError(f"the catalog {uri}: defaults must be a mapping of values")
    entries: list[StyleEntry] = []
    refused: dict[str, str] = {}
    for index, values in enumerate(content["styles"]):
        name = values.get("name") if isinstance(values, dict) else None
        label = shortened(" ".join(str(name).split()), 60) if name else f"style {index + 1}"
        try:
            entries.append(_entry(uri, values, defaults))
        except (UserError, ValidationError) as error:
            refused[label] = sentence(error) or str(error)
    names = Counter(training.name for entry in entries for training in entry.trainings)
    for entry in entries:
        shared = [training.name for training in entry.trainings if names[training.name] > 1]
        if shared:
            refused[entry.name] = f"the name {shared[0]} is used twice; each network needs a unique name"
    return Catalog([entry for entry in entries if entry.name not in refused], refused)


def _parsed(text: str) -> Any:
    import yaml

    # A page of aliases of aliases stands for more values than memory holds.
    anchored, aliases = [False], 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            anchored.append(anchored[-1] or event.anchor is not None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchored.pop()
        aliases += isinstance(event, yaml.AliasEvent)
        if aliases > MAX_ALIASES or (isinstance(event, yaml.AliasEvent) and anchored[-1]):
            raise yaml.YAMLError("it has aliases (*name) within aliases, or too many of them; use `defaults`")
    return yaml.safe_load(text)


_PARTS = {"styles", "defaults"}


def _entry(uri: str, values: Any, defaults: dict[str, Any]) -> StyleEntry:
    if not isinstance(values, dict):
        raise UserError("an entry must be a mapping with name and image")
    entry = StyleEntry.model_validate({**defaults, **values})
    entry = entry.model_copy(update={"image": _beside(uri, entry.image)})
    entry.trainings  # noqa: B018  reports invalid values here
    return entry


def _beside(uri: str, image: str) -> str:
    if styles.builtin_name(image) is not None or storage.is_remote(image) or storage.local_path(image).is_absolute():
        return image
    folder = uri.rpartition("/")[0] if storage.is_remote(uri) else str(storage.local_path(uri).parent)
    return storage.join(folder, image) if folder else image
