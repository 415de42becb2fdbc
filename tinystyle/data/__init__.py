"""Photographs, from where they lie to batches: sources, decoding, shards, ingest, and the data module for training.

Importing this package imports none of it, so that decoding processes and `--help` start without torch.
"""

from __future__ import annotations

__all__ = ["MAX_REDUCTION"]

MAX_REDUCTION = 2
"""Largest factor by which crops show photos smaller than they are stored."""
