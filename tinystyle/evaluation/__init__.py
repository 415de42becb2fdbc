"""Quality metrics for stylized images, with two baselines (identity and color matching).

Measures losses, the distance to the painting, collapse, and artifacts. Images are float RGB tensors (batch, 3, height,
width) in 0..255. `model_report` combines all metrics for a model file. Independent of training.
"""

from __future__ import annotations

from tinystyle.evaluation.artifacts import border_error, checkerboard_energy
from tinystyle.evaluation.collapsed import NOT_FINITE, bad_blocks, collapse
from tinystyle.evaluation.criterion import Criterion, PhotoFeatures, paint_measure
from tinystyle.evaluation.flicker import flicker
from tinystyle.evaluation.paint import PaintMeasure, picture_score
from tinystyle.evaluation.references import REFERENCE_PHOTOS, reference_statistics
from tinystyle.evaluation.rows import (
    LossRow,
    QualityRow,
    Stylize,
    beside_trivial,
    color_match,
    identity,
    loss_row,
    quality_rows,
)

__all__ = [
    "NOT_FINITE",
    "REFERENCE_PHOTOS",
    "Criterion",
    "LossRow",
    "PaintMeasure",
    "PhotoFeatures",
    "QualityRow",
    "Stylize",
    "bad_blocks",
    "beside_trivial",
    "border_error",
    "checkerboard_energy",
    "collapse",
    "color_match",
    "flicker",
    "identity",
    "loss_row",
    "paint_measure",
    "picture_score",
    "quality_rows",
    "reference_statistics",
]
