"""The image sizes that a Core ML file accepts. Imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tinystyle.coreml import check_size
from tinystyle.errors import UserError, shortened

__all__ = ["ImageSizes"]

USUAL = (640, 480)
"""Default of a range, clipped to the range; Vision resizes images to the default."""
MAX_CHOICES = 128
"""Maximum number of sizes that Core ML lets a file enumerate."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True)
class ImageSizes:
    """The image sizes that a Core ML file accepts, in pixels, each (width, height).

    A range includes sides that are not multiples of the network's stride (4), which only its bounds have to be.
    """

    kind: Literal["fixed", "enumerated", "ranged"]
    choices: tuple[tuple[int, int], ...]
    """The one size if fixed, all sizes if enumerated, the smallest and the largest if ranged."""
    default: tuple[int, int]

    @classmethod
    def fixed(cls, width: int, height: int) -> ImageSizes:
        """Return the sizes of a file that accepts only this size."""
        return cls("fixed", ((width, height),), (width, height))

    @classmethod
    def parse(cls, text: str) -> ImageSizes:
        """Parse `640x480`, `640x480,480x640` (whose first size is the default), or `256x256..1920x1920`.

        Raises:
            UserError: the text has none of these forms.
        """
        separator = ".." if ".." in text else ","
        matches = [_SIZE.fullmatch(part.strip()) for part in text.split(separator)]
        choices = tuple((int(match[1]), int(match[2])) for match in matches if match)
        if len(choices) < len(matches) or (separator == ".." and len(choices) != 2):
            raise UserError(
                f"`size` {shortened(text, 100)}: give WIDTHxHEIGHT in pixels such as 640x480, several (640x480,480x640), "
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
        """Raise UserError unless a file of `format` can accept these sizes, for a network of stride `stride` pixels."""
        if format == "mlmodel" and self.kind != "fixed":
            raise UserError(f"an .mlmodel takes images of one size, not {self}; give one, or write an .mlpackage")
        for width, height in self.choices:
            check_size(width, height, stride)
        if len(set(self.choices)) < len(self.choices):
            raise UserError(f"the sizes {self} contain a size twice; give each size once")
        if len(self.choices) > MAX_CHOICES:
            raise UserError(f"{len(self.choices)} sizes are too many; give up to {MAX_CHOICES}, or a range")
        if self.kind == "ranged" and any(low > high for low, high in zip(*self.choices, strict=True)):
            raise UserError(f"the range {self} has a minimum above its maximum; give the smaller size first")

    def allows(self, width: int, height: int) -> bool:
        """Return whether the file accepts an image of this size."""
        if self.kind != "ranged":
            return (width, height) in self.choices
        (least_w, least_h), (most_w, most_h) = self.choices
        return least_w <= width <= most_w and least_h <= height <= most_h

    def nearest(self, width: int, height: int) -> tuple[int, int]:
        """Return the accepted size to resize an image of this size to.

        In a range, it is the image's own size, clipped to the range. Otherwise it is the size whose aspect ratio is
        most similar, and among several of those the one with the nearest number of pixels.
        """
        if self.kind == "ranged":
            (least_w, least_h), (most_w, most_h) = self.choices
            return min(max(width, least_w), most_w), min(max(height, least_h), most_h)

        def difference(size: tuple[int, int]) -> tuple[float, int]:
            ratio = size[0] * height / (size[1] * width)
            return round(max(ratio, 1 / ratio), 3), abs(size[0] * size[1] - width * height)

        return min(self.choices, key=difference)

    def __str__(self) -> str:
        return (" to " if self.kind == "ranged" else ", ").join(f"{width}x{height}" for width, height in self.choices)
