"""What verification asks of a file that it has read, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from tinystyle.coreml.evaluator.stored_weights import StoredWeight
from tinystyle.coreml.sizes import ImageSizes

__all__ = ["SavedFile"]


class SavedFile(Protocol):
    """A file that takes an image and returns one."""

    @property
    def path(self) -> Path:
        """Where the file is."""

    @property
    def format(self) -> str:
        """Format, by the suffix of its files."""

    @property
    def bits(self) -> int:
        """Largest number of bits per convolution weight."""

    @property
    def sizes(self) -> ImageSizes:
        """Image sizes that the file takes."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself; `lineage` is JSON."""

    @property
    def weights(self) -> Sequence[StoredWeight]:
        """Weights of convolutions and norms, in order of execution."""

    def run(self, image_13hw: Tensor, *, float16: bool = False, exact: bool = False) -> Tensor:
        """Compute the output for one RGB image in 0..255, (1, 3, height, width); see `CoreMLModel.run`."""


@runtime_checkable
class SavedStyles(SavedFile, Protocol):
    """A file that takes the share of each style, too; `styles` is empty for one of one style."""

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles of a file of many; none of one style."""

    @property
    def chosen(self) -> tuple[float, ...] | None:
        """The share of each style that `run` computes."""

    def choose(self, text: str) -> SavedStyles:
        """Return the file with a style, or a mixture; see `CoreMLModel.choose`."""
