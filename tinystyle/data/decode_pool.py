"""Decoding in worker processes: all cores are used, and a decoder that crashes costs one photo, not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from tinystyle.data.decode import PreparedPhoto, Unusable, prepare_photo
from tinystyle.errors import UserError

__all__ = ["DecodePool"]


class DecodePool:
    """`prepare_photo` in `workers` processes, for any number of calling threads. A context manager.

    Raises:
        OSError: the processes do not start.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._replacing = threading.Lock()
        self._alone = threading.Lock()
        # Ctrl-C is for this process: workers inherit the mask, and would print a traceback each.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._executor = _start(workers)
            first = self._executor.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            first.result()
        except BrokenProcessPool as error:
            raise UserError(
                "the decoding processes do not start; a script must ingest under `if __name__ == '__main__':`"
            ) from error

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    def prepare(self, data: bytes, size: int) -> PreparedPhoto:
        """Decode a photo in some worker.

        Raises:
            Unusable: as `prepare_photo`, or because the photo crashes the decoder.
        """
        executor = self._executor
        try:
            return executor.submit(prepare_photo, data, size).result()
        except BrokenProcessPool:
            self._replace(executor)
        # This photo or another that was being decoded is the culprit: each goes into a process of its own.
        with self._alone, _start(1) as own:
            try:
                return own.submit(prepare_photo, data, size).result()
            except BrokenProcessPool as error:
                raise Unusable("decoder crashed") from error

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._replacing:
            if self._executor is broken:
                self._executor = _start(self._workers)
                broken.shutdown(wait=False)


def _start(workers: int) -> ProcessPoolExecutor:
    # Not forked: the caller has threads, and perhaps torch and a GPU.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_in_worker)


def _in_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """A worker of a killed parent would wait for work for ever."""
    parent.join()
    os._exit(1)
