"""Compares what a Core ML file does with its weights, apart from their quantization, with what the network does.

The network gets the weights that the file holds. Then both compute in float32, on a drawn picture whose channels differ,
at sizes of every kind that the file takes, and have to agree. So a wrong constant, order of channels or border is found,
even at bits that leave no bound for photos, on gray photos, or at sizes that photos do not have.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinystyle.coreml.evaluator.model import NotFiniteError
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.coreml.verification.saved_file import SavedFile
from tinystyle.errors import UserError

__all__ = ["MAX_DIFFERENCE", "Stylize", "structural_fault", "with_weights"]

MAX_DIFFERENCE = 0.25
"""Largest difference of a pixel in gray levels. On eight networks, the order of sums and constants in float16 made 0.007."""
_PIXELS = 1 << 20
"""Sizes of more pixels are tried only if the file takes no other."""


Stylize = Callable[[Tensor], Tensor]
"""A network of one style, or of many in one of its styles."""
_Network = TypeVar("_Network", bound=nn.Module)


def with_weights(network: _Network, weights: Sequence[tuple[str, NDArray[np.float32]]]) -> _Network:
    """Return a copy of the network whose parameters of these names have these values."""
    changed = copy.deepcopy(network).eval()
    with torch.no_grad():
        for name, values in weights:
            changed.get_parameter(name).copy_(torch.from_numpy(values))
    return changed


def structural_fault(
    file: SavedFile, network: Stylize, stride: int = 4, tolerance: float = MAX_DIFFERENCE
) -> str | None:
    """Return where the file differs from the network, in words, or None.

    Args:
        file: the saved file.
        network: the network, with the weights of the file.
        stride: number of which its sides are multiples.
        tolerance: largest difference of a pixel, in gray levels.
    """
    for width, height in sizes_to_try(file.sizes, stride):
        picture = drawn_picture(width, height)
        try:
            result = file.run(picture, exact=True)
        except NotFiniteError as error:
            return str(error)
        # The graph is foreign, and what torch raises for a size that it cannot take is of many types.
        except (UserError, RuntimeError, ValueError, IndexError, TypeError) as error:
            reason = " ".join(str(error).removeprefix(f"{file.path}: ").split())[:200]
            return f"it takes an image of {width}x{height}, and fails with it ({reason})"
        if result.shape != picture.shape:
            sides = "x".join(map(str, reversed(result.shape[2:])))
            return f"of an image of {width}x{height} it makes one of {sides}"
        with torch.inference_mode():
            difference = (result.clamp(0, 255) - network(picture).clamp(0, 255)).abs()
        if not float(difference.max()) <= tolerance:
            return (
                f"at {width}x{height} it differs from the network with its own weights by up to "
                f"{float(difference.max()):.3g} gray levels: something other than the weights is different"
            )
    return None


def sizes_to_try(sizes: ImageSizes, stride: int) -> list[tuple[int, int]]:
    """Return sizes that a file takes, the smallest first: all that it lists, or of a range one of every remainder."""
    if sizes.kind != "ranged":
        return sorted(set(sizes.choices), key=lambda size: size[0] * size[1])
    (low_w, low_h), (high_w, high_h) = sizes.choices
    tried = [sizes.default]
    for step in range(stride + 1):
        tried.append((min(low_w + step, high_w), min(low_h + (3 * step + 1) % (stride + 1), high_h)))
    tried += [(low_w, low_h), (high_w, low_h), (low_w, high_h), (high_w, high_h)]
    small = [size for size in tried if size[0] * size[1] <= _PIXELS]
    return sorted(set(small or [(low_w, low_h)]), key=lambda size: size[0] * size[1])


def drawn_picture(width: int, height: int) -> Tensor:
    """Return a picture (1, 3, height, width) in 0..255: noise over waves, different in every channel."""
    noise = torch.randint(0, 64, (1, 3, height, width), generator=torch.Generator().manual_seed(0)).float()
    y, x = torch.meshgrid(torch.arange(height) / 9.0, torch.arange(width) / 7.0, indexing="ij")
    waves = torch.stack([torch.sin(x), torch.cos(y), torch.sin(x + y)])[None]
    return noise + torch.tensor([140.0, 90.0, 40.0]).reshape(1, 3, 1, 1) + 40 * waves
