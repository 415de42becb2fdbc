"""Checkpoints of a run: how one is saved and read, whose it is, and whether a run can be resumed from it."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from typing import Any

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import BEST, LAST

__all__ = ["checkpoint_bytes", "content_fault", "key_of", "read_checkpoint", "saved_step", "unusable"]


def checkpoint_bytes(checkpoint: dict[str, Any]) -> bytes:
    """Return the content of a checkpoint file."""
    import torch

    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def read_checkpoint(data: bytes) -> dict[str, Any]:
    """Return the checkpoint whose file has the content `data`.

    Raises:
        ValueError: the content is damaged, or no dictionary that torch saved.
    """
    import torch

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            if damaged := file.testzip():  # torch does not verify the checksums
                raise ValueError(f"{damaged} is damaged")
        checkpoint: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch.load can raise almost any exception on foreign data
        raise ValueError("not a checkpoint, or damaged") from error
    if not isinstance(checkpoint, dict):
        raise ValueError("not a checkpoint")
    return checkpoint


def key_of(checkpoint: dict[str, Any]) -> str | None:
    """Return the key of the run that saved a checkpoint; None if it does not say so."""
    try:
        lineage = json.loads(checkpoint["lineage"])
    except (KeyError, TypeError, ValueError):
        return None
    key = lineage.get("key") if isinstance(lineage, dict) else None
    return key if isinstance(key, str) else None


def content_fault(checkpoint: dict[str, Any], record: RunRecord) -> str | None:
    """Return why a run cannot be resumed from a checkpoint, to follow the name of its file; None if it can."""
    if "state_dict" not in checkpoint or "network_config" not in checkpoint:
        return "is not a checkpoint of a training"
    if key_of(checkpoint) != record.lineage.get("key"):
        return "belongs to another run"
    step, network = checkpoint.get("global_step"), record.config.network.model_dump_json()
    if (
        not isinstance(step, int)
        or not 0 <= step <= record.config.optimizer.steps
        or checkpoint["network_config"] != network
    ):
        return "is damaged"
    # Adam has a state from the first step on.
    if not all(checkpoint.get(part) for part in ("optimizer_states", "lr_schedulers", "loops", "callbacks")):
        return "holds the network but not the state of its optimizer"
    return None


def saved_step(location: str, record: RunRecord) -> int | None:
    """Return the step of the `last.ckpt` at `location`, or None if the run cannot be resumed from it."""
    try:
        checkpoint = read_checkpoint(storage.read_bytes(storage.join(location, LAST)))
    except (ValueError, OSError):
        return None
    return None if content_fault(checkpoint, record) else int(checkpoint["global_step"])


def unusable(location: str, fault: str, record: RunRecord) -> UserError:
    """Return the error for a `last.ckpt` that a run cannot be resumed from.

    Args:
        location: folder or URI of the checkpoints.
        fault: why, to follow the name of the file.
        record: the run.
    """
    remedy = "start over with `resume` never"
    with suppress(ValueError, OSError):
        best = read_checkpoint(storage.read_bytes(storage.join(location, BEST)))
        if content_fault(best, record) is None:
            remedy = f"replace it with {BEST} to resume from step {best['global_step']}, or {remedy}"
    return UserError(f"{storage.join(location, LAST)} {fault}; {remedy}")
