"""index.json: what is published, which version of a style is current, and its history. Does not depend on storage.

An `Index` is immutable: adding a version or rolling back returns another one.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tinystyle.errors import UserError
from tinystyle.release.bundle import ReleaseFile

__all__ = ["HistoryEntry", "Index", "PublishedFile", "PublishedStyle", "PublishedVersion", "schema_json"]

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class PublishedFile(ReleaseFile):
    """An exported file and the files beside it. Every address is relative to that of index.json."""

    model_config = _STRICT

    url: str
    card: str
    """Address of the model card, Markdown."""
    preview: str | None = None
    """Address of a PNG picture with pairs of photo and stylized photo."""


class PublishedVersion(BaseModel):
    """One version of a style. Its files never change."""

    model_config = _STRICT

    style: str
    version: int = Field(ge=1)
    """Version number in the model registry."""
    published: datetime
    run_id: str | None = None
    """MLflow run that produced this version."""
    files: tuple[PublishedFile, ...] = Field(min_length=1)
    swift: str | None
    """Address of the Swift file that runs the first Core ML file in an app; null if there is no Core ML file."""
    model: str
    """Address of the trained network, .safetensors, for `tinystyle verify FILE --against`."""
    checksums: str
    """Address of SHA256SUMS, in the format of `sha256sum --check`."""
    metrics: dict[str, float] = {}
    """Losses and paint metrics on held-out photos, fraction of bad blocks, number of weights."""


class HistoryEntry(BaseModel):
    """Records when and why a version became the current one."""

    model_config = _STRICT

    time: datetime
    action: Literal["publish", "rollback"]
    version: int
    reason: str


class PublishedStyle(BaseModel):
    """A style, and which of its versions apps should use."""

    model_config = _STRICT

    name: str
    current: int
    versions: tuple[PublishedVersion, ...] = Field(min_length=1)
    """Published versions, newest first."""
    history: tuple[HistoryEntry, ...]
    """Changes of the current version, oldest first."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        numbers = [version.version for version in self.versions]
        if len(set(numbers)) < len(numbers) or self.current not in numbers:
            raise UserError(f"the versions of {self.name} do not fit together")
        return self

    def version(self, number: int | None = None) -> PublishedVersion | None:
        """Return the version with this number (None: the current one), or None if there is none."""
        number = self.current if number is None else number
        return next((version for version in self.versions if version.version == number), None)

    @property
    def before(self) -> int | None:
        """Version that was current before the current one, without those rolled back since; None if there is none."""
        stack: list[int] = []
        for entry in self.history:
            if entry.action == "rollback" and entry.version in stack:
                while stack[-1] != entry.version:
                    stack.pop()
            else:
                stack.append(entry.version)
        return stack[-2] if len(stack) > 1 else None


class Index(BaseModel):
    """Everything that is published under one root."""

    model_config = _STRICT

    schema_version: Literal[2] = 2
    """Schema version; see index.schema.json. A client that supports only another one must not overwrite the index.
    Version 1 had Core ML files only."""
    updated: datetime | None = None
    styles: tuple[PublishedStyle, ...] = ()
    """Published styles, by name."""

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, values: Any) -> Any:
        return (
            {**values, "schema_version": 2}
            if isinstance(values, dict) and values.get("schema_version") == 1
            else values
        )

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len({style.name for style in self.styles}) < len(self.styles):
            raise UserError("the index contains a style twice")
        return self

    @classmethod
    def parse(cls, data: bytes, uri: str) -> Index:
        """Parse the content of index.json, which was read from `uri`.

        Raises:
            UserError: the content is damaged, or has another schema version.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise UserError(
                f"{uri} is damaged, or written by a newer tinystyle; upgrade, or put back an earlier version of the file"
            ) from error

    def as_json(self) -> bytes:
        """Return the content of index.json, UTF-8."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    def style(self, name: str) -> PublishedStyle | None:
        """Return the style with this name, or None if there is none."""
        return next((style for style in self.styles if style.name == name), None)

    def with_version(self, version: PublishedVersion, reason: str) -> Index:
        """Return the index with `version` added and made current; the same index if it contains that version."""
        old = self.style(version.style)
        if old is not None and old.version(version.version) is not None:
            return self
        versions = (version, *(old.versions if old else ()))
        entry = HistoryEntry(time=version.published, action="publish", version=version.version, reason=reason)
        return self._with(
            PublishedStyle(
                name=version.style,
                current=version.version,
                versions=tuple(sorted(versions, key=lambda version: -version.version)),
                history=(*(old.history if old else ()), entry),
            ),
            version.published,
        )

    def rolled_back(self, style: PublishedStyle, number: int, time: datetime, reason: str) -> Index:
        """Return the index with version `number` of `style` made current; the same index if it is current already.

        `time` and `reason` are recorded in the history.
        """
        if style.current == number:
            return self
        entry = HistoryEntry(time=time, action="rollback", version=number, reason=reason)
        history = (*style.history, entry)
        return self._with(style.model_copy(update={"current": number, "history": history}), time)

    def _with(self, style: PublishedStyle, time: datetime) -> Index:
        styles = {**{style.name: style for style in self.styles}, style.name: style}
        return Index(updated=time, styles=tuple(styles[name] for name in sorted(styles)))


def schema_json() -> bytes:
    """Return index.schema.json, the JSON Schema of index.json."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Index.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, sort_keys=True).encode() + b"\n"
