"""Gives each training run GPUs of its own, across all workers and containers of a machine."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from time import sleep

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

__all__ = ["hold_gpus", "visible_gpus"]

LOOK_SECONDS = 5.0
LEASE_SECONDS = 60.0  # Prefect's minimum
Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def visible_gpus() -> list[str]:
    """Return the UUIDs of the GPUs that this process sees, such as GPU-5d8b...; an empty list without GPUs."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(torch.cuda.device_count())]


@contextmanager
def hold_gpus(count: int, visible: Sequence[str], log: Log) -> Iterator[dict[str, str]]:
    """Hold `count` of the GPUs while the block runs; wait until so many are free at once.

    Prefect's server keeps a concurrency limit of 1 named after each GPU's UUID, created here on first use. One run at a
    time waits on a machine, so that a run of eight GPUs is not kept waiting by runs of one that come after it. Without
    GPUs nothing is held: the work queue limits how many runs a machine's cores can serve.

    Args:
        count: number of GPUs, at most `len(visible)` unless that is 0.
        visible: UUIDs of the GPUs to choose from, from `visible_gpus`.
        log: logger of the flow run.

    Yields:
        Variables of the environment for the training processes, so that they see exactly these GPUs.
    """
    if not visible:
        yield {}
        return
    turn = f"gpus of {socket.gethostname()}"
    _ensure_limits([turn, *visible])
    log.info("waiting for %d of %d GPUs to be free", count, len(visible))
    with ExitStack() as held:
        with _limit([turn]):
            chosen = _take(count, visible, held)
        log.info("training on %s", ", ".join(chosen))
        yield {"CUDA_VISIBLE_DEVICES": ",".join(chosen)} if len(chosen) < len(visible) else {}


def _take(count: int, visible: Sequence[str], held: ExitStack) -> list[str]:
    """Enter the limits of `count` free GPUs into `held` and return them, in the order of `visible`."""
    while True:
        with get_client(sync_client=True) as client:
            free = [name for name in visible if not client.read_global_concurrency_limit_by_name(name).active_slots]
        if len(free) >= count:
            # Others may take one between the look and this, on purpose or because they have more than one machine's
            # name; then all are given back and the search goes on.
            with suppress(TimeoutError):
                held.enter_context(_limit(free[:count], timeout_seconds=LOOK_SECONDS))
                return free[:count]
        sleep(LOOK_SECONDS)


def _limit(names: list[str], timeout_seconds: float | None = None) -> AbstractContextManager[None]:
    # A server outage of minutes is no reason to stop hours of training; a killed run's GPUs are free after a minute.
    return concurrency(
        names,
        strict=True,
        timeout_seconds=timeout_seconds,
        lease_duration=LEASE_SECONDS,
        raise_on_lease_renewal_failure=False,
    )


def _ensure_limits(names: Sequence[str]) -> None:
    with get_client(sync_client=True) as client:
        for name in names:
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
