"""Photos, from their source to training batches: sources, decoding, shards, ingest, and the training data module.

Importing this package imports none of its modules, so that decoding processes and `--help` start without torch.
"""

from __future__ import annotations

__all__ = ["MAX_REDUCTION"]

MAX_REDUCTION = 2
"""Largest factor by which a crop is scaled down from the stored photo."""
