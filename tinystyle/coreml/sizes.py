"""The image sizes that a Core ML file takes. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tinystyle.coreml import check_size
from tinystyle.errors import UserError

__all__ = ["ImageSizes"]

USUAL = (640, 480)
"""Default of a range, brought into it: Vision resizes to the default."""
MAX_CHOICES = 128
"""How many sizes Core ML lets a file enumerate."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True)
class ImageSizes:
    """Sizes in pixels, each (width, height).

    A range lets through sides that are no multiple of the network's stride (4): the file's output then has each side
    rounded up to one, the image at its top left.
    """

    kind: Literal["fixed", "enumerated", "ranged"]
    choices: tuple[tuple[int, int], ...]
    """fixed: one; enumerated: all; ranged: the smallest and the largest."""
    default: tuple[int, int]

    @classmethod
    def fixed(cls, width: int, height: int) -> ImageSizes:
        return cls("fixed", ((width, height),), (width, height))

    @classmethod
    def parse(cls, text: str) -> ImageSizes:
        """`640x480`; `640x480,480x640`, of which the first is the default; or `256x256..1920x1920`.

        Raises:
            ValueError: it is none of these.
        """
        separator = ".." if ".." in text else ","
        matches = [_SIZE.fullmatch(part.strip()) for part in text.split(separator)]
        choices = tuple((int(match[1]), int(match[2])) for match in matches if match)
        if len(choices) < len(matches) or (separator == ".." and len(choices) != 2):
            raise UserError(
                f"`size` {text}: give WIDTHxHEIGHT in pixels such as 640x480, several (640x480,480x640), "
                "or a range (256x256..1920x1920)"
            )
        if len(choices) == 1:
            return cls.fixed(*choices[0])
        if separator == ",":
            return cls("enumerated", choices, choices[0])
        (low_width, low_height), (high_width, high_height) = choices
        default = min(max(USUAL[0], low_width), high_width), min(max(USUAL[1], low_height), high_height)
        return cls("ranged", choices, default)

    def check(self, format: str, stride: int) -> None:
        """Raise ValueError unless a file of `format` can take these sizes, the network having that stride."""
        if format == "mlmodel" and self.kind != "fixed":
            raise UserError(f"an .mlmodel takes images of one size, not {self}; give one, or write an .mlpackage")
        for width, height in self.choices:
            check_size(width, height, stride)
        if len(set(self.choices)) < len(self.choices):
            raise UserError(f"the sizes {self} name one size twice; name each once")
        if len(self.choices) > MAX_CHOICES:
            raise UserError(f"{len(self.choices)} sizes are too many; give up to {MAX_CHOICES}, or a range")
        if self.kind == "ranged" and any(low > high for low, high in zip(*self.choices, strict=True)):
            raise UserError(f"the range {self} has a side that ends before it begins; give the smaller size first")

    def allows(self, width: int, height: int) -> bool:
        """Whether the file takes an image of this size."""
        if self.kind != "ranged":
            return (width, height) in self.choices
        (least_w, least_h), (most_w, most_h) = self.choices
        return least_w <= width <= most_w and least_h <= height <= most_h

    def nearest(self, width: int, height: int) -> tuple[int, int]:
        """The size that the file takes for an image of this one: within a range its own, or what of it the range leaves;
        else that of the most alike shape, and of those the nearest number of pixels."""
        if self.kind == "ranged":
            (least_w, least_h), (most_w, most_h) = self.choices
            return min(max(width, least_w), most_w), min(max(height, least_h), most_h)

        def difference(size: tuple[int, int]) -> tuple[float, int]:
            ratio = size[0] * height / (size[1] * width)
            return round(max(ratio, 1 / ratio), 3), abs(size[0] * size[1] - width * height)

        return min(self.choices, key=difference)

    def __str__(self) -> str:
        return (" to " if self.kind == "ranged" else ", ").join(f"{width}x{height}" for width, height in self.choices)
