"""One training at a time on a GPU, whichever worker starts it, and in however many containers."""

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
    """Hold, while the block runs, the GPU that training takes: the first that this process sees.

    Prefect's server keeps a concurrency limit of 1 under the GPU's own identifier, made here on first use; a run waits
    until the one before it ends. A worker that is to use another GPU is started with CUDA_VISIBLE_DEVICES. Without a GPU
    there is nothing to hold: how many runs a machine's cores bear is the work queue's limit.
    """
    name = _gpu()
    if name is None:
        yield
        return
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    log.info("waiting for %s to be free", name)
    # A server that is away for minutes is no reason to stop a training of hours.
    with concurrency(name, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _gpu() -> str | None:
    import torch

    return f"gpu-{torch.cuda.get_device_properties(0).uuid}" if torch.cuda.is_available() else None
