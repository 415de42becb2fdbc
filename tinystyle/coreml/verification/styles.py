"""A file of many styles beside its network, in one style after the other."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tinystyle.coreml.verification.saved_file import SavedFile, SavedStyles
from tinystyle.coreml.verification.structure import Stylize
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, LoadedStyles
from tinystyle.nets.styled import BlendingNetwork

__all__ = ["in_each_style", "refuse_other_styles"]


def refuse_other_styles(file: SavedFile, model: LoadedModel | LoadedStyles, against: str) -> None:
    """Raise UserError if the file has other styles than the model, called `against`; one of one style has none."""
    styles = file.styles if isinstance(file, SavedStyles) else ()
    if model.names != styles:
        raise UserError(
            f"{file.path} has the styles {_listed(styles)}, {against} {_listed(model.names)}; choose `style`"
        )


def in_each_style(file: SavedFile, network: nn.Module, *, mean: bool = True) -> list[tuple[SavedFile, Stylize]]:
    """Return file and network in each of their styles, and in the mean of all with `mean`; of one style, as they are."""
    if not isinstance(network, BlendingNetwork):
        return [(file, network)]
    assert isinstance(file, SavedStyles)
    chosen = [file.choose(text) for text in (*file.styles, *([",".join(file.styles)] if mean else []))]
    return [(one, partial(_in_style, network, torch.tensor(one.chosen or ()).reshape(1, -1, 1, 1))) for one in chosen]


def _in_style(network: BlendingNetwork, shares_1s11: Tensor, photo_13hw: Tensor) -> Tensor:
    stylized: Tensor = network(photo_13hw, shares_1s11)
    return stylized


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "of one"
