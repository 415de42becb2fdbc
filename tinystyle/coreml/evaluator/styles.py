"""What a saved file of many styles has, whatever its format: their names, and the share of each that it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from tinystyle.errors import UserError
from tinystyle.styles import selection

__all__ = ["ChoosesStyles"]


class ChoosesStyles:
    """Base of the frozen dataclasses of saved files, whose fields these are."""

    if TYPE_CHECKING:
        path: Path
        metadata: Mapping[str, str]
        shares: tuple[str, int] | None
        """Name of the second input of a file of many styles, (1, styles, 1, 1), and the number of styles."""
        chosen: tuple[float, ...] | None
        """The share of each style; see `choose`."""

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles of a file of many; none of one style."""
        return tuple(self.metadata.get("styles", "").split(",")) if self.shares else ()

    def choose(self, text: str) -> Self:
        """Return the file with a style, or a mixture, that `run` computes.

        Args:
            text: the name of a style, or names with shares, such as wave=0.5,mosaic=0.5.

        Raises:
            UserError: there is no such style, or the file has one style only.
        """
        if self.shares is None:
            raise UserError(f"{self.path}: is a file of one style; leave out `style` {text}")
        shares = selection.parse(text, self.styles)
        file: Any = self
        chosen: Self = replace(file, chosen=tuple(shares.get(name, 0.0) for name in self.styles))
        return chosen

    def given_shares(self) -> dict[str, Tensor]:
        """Return the second input by its name, float32, (1, styles, 1, 1); empty for a file of one style.

        Raises:
            UserError: the file has many styles, and none is chosen.
        """
        if self.shares is None:
            return {}
        if self.chosen is None:
            raise UserError(f"{self.path}: holds the styles {', '.join(self.styles)}; choose one with `style`")
        return {self.shares[0]: torch.tensor(self.chosen).reshape(1, -1, 1, 1)}
