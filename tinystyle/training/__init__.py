"""Training one style network. Knows nothing of Prefect or Core ML."""

__all__ = ["TRAINING_REVISION"]

TRAINING_REVISION = 3
"""Raised by hand when the maths of training changes (the golden-loss test fails until it is); part of a run's key."""
