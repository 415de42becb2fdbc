"""Ingesting without the processes that decode."""

from __future__ import annotations

from types import TracebackType

from tinystyle.data.decode import PreparedPhoto, prepare_photo

__all__ = ["DecodeHere"]


class DecodeHere:
    """Takes the place of `DecodePool`: decodes in the calling thread."""

    def __init__(self, workers: int) -> None:
        assert workers >= 1

    def __enter__(self) -> DecodeHere:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def prepare(self, data: bytes, size: int) -> PreparedPhoto:
        """As `DecodePool.prepare`."""
        return prepare_photo(data, size)
