"""Training of one style network. Imports neither Prefect nor coremltools."""

__all__ = ["TRAINING_REVISION"]

TRAINING_REVISION = 3
"""Part of every run key. Increase it when the math of training changes; the golden-loss test fails until then."""
