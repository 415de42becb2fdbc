"""What a stylised image is worth: losses beside two trivial answers, collapse, artefacts. Knows nothing of training.

Images are RGB tensors (batch, 3, height, width) in 0..255, float. `model_report` puts it all together for a model file.
"""

from __future__ import annotations

from tinystyle.evaluation.artefacts import border_error, checkerboard_energy
from tinystyle.evaluation.collapsed import NOT_FINITE, bad_blocks, collapse
from tinystyle.evaluation.rows import (
    REFERENCE_PHOTOS,
    LossRow,
    QualityRow,
    Stylise,
    beside_trivial,
    colour_match,
    identity,
    loss_row,
    quality_rows,
)

__all__ = [
    "NOT_FINITE",
    "REFERENCE_PHOTOS",
    "LossRow",
    "QualityRow",
    "Stylise",
    "bad_blocks",
    "beside_trivial",
    "border_error",
    "checkerboard_energy",
    "collapse",
    "colour_match",
    "identity",
    "loss_row",
    "quality_rows",
]
