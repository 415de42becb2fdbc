"""Estimates how much memory a photo needs, and how much is available. Does not depend on architectures or photos."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["available_memory", "peak_bytes"]

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def peak_bytes(function: Callable[[], object]) -> int:
    """Call `function`, and return the maximum number of bytes that tensors created by the call hold at the same time.

    The call is made in this thread. Each storage counts from the operation that creates it until nothing refers to it.
    Composite operations are counted as the operations that they consist of; instance norm, for example, copies an image
    that is not contiguous. For a network of `tinystyle.nets`, the result is proportional to the number of pixels, and
    equals the growth of resident memory on large images.
    """
    live = _LiveBytes()
    with live:
        function()
    return live.peak


def available_memory() -> int:
    """Return how many bytes this process can still take from the machine, its container (cgroup) and `ulimit -v`."""
    available = [psutil.virtual_memory().available]
    process = psutil.Process()
    used = process.memory_info()
    if psutil.LINUX:
        limit, _ = process.rlimit(psutil.RLIMIT_AS)
        if limit != psutil.RLIM_INFINITY:
            available.append(limit - used.vms)
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # absent, or "max"
            available.append(int(Path(path).read_text()) - used.rss)
    return max(0, min(available))


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:
            output = func.decompose(*args, **(kwargs or {}))
        if output is NotImplemented:  # not composed of others
            output = func(*args, **(kwargs or {}))
        for storage in _storages(output) - _storages((args, kwargs)):  # a returned input, or a view of one, is not new
            if storage not in self._known:
                self._known.add(storage)
                self._now += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self._now)
        return output

    def _free(self, size: int) -> None:
        self._now -= size


def _storages(values: Any) -> set[Any]:
    return {value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor)}
