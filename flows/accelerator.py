"""Allows one training run at a time on a GPU, across all workers and containers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

__all__ = ["own_accelerator"]


@contextmanager
def own_accelerator(log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> Iterator[None]:
    """Hold the GPU that training uses, the first one that this process sees, while the block runs.

    Prefect's server keeps a concurrency limit of 1 named after the GPU's UUID, created here on first use; a run waits
    until the one before it ends. To use another GPU, start a worker with CUDA_VISIBLE_DEVICES. Without a GPU nothing is
    held: the work queue limits how many runs a machine's cores can serve.

    Args:
        log: logger of the flow run.
    """
    name = _gpu()
    if name is None:
        yield
        return
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    log.info("waiting for %s to be free", name)
    # A server outage of minutes is no reason to stop hours of training.
    with concurrency(name, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _gpu() -> str | None:
    import torch

    return f"gpu-{torch.cuda.get_device_properties(0).uuid}" if torch.cuda.is_available() else None
