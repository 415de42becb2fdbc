"""Decodes photos in worker processes: all cores are used, and a crash of the decoder costs one photo, not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from tinystyle.data.decode import PreparedPhoto, Unusable, prepare_photo
from tinystyle.data.processes import keep_freed_memory, uninterrupted
from tinystyle.errors import UserError

__all__ = ["DecodePool"]


class DecodePool:
    """Context manager that runs `prepare_photo` in `workers` processes, for any number of calling threads.

    Raises:
        UserError: the processes end while starting, as in a script without `if __name__ == "__main__":`.
        OSError: the processes cannot be started.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._replacing = threading.Lock()
        self._alone = threading.Lock()
        with uninterrupted():
            self._executor = _start(workers)
            started = [self._executor.submit(os.getpid) for _ in range(workers)]  # each starts one more worker
        try:
            for worker in started:
                worker.result()
        except BrokenProcessPool as error:
            raise UserError(
                "the decoding processes do not start; a script must ingest under `if __name__ == '__main__':`"
            ) from error
        except BaseException:  # asked to stop: nobody will leave this pool, because nobody has it yet
            self._executor.shutdown(cancel_futures=True)
            raise

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    def prepare(self, data: bytes, size: int) -> PreparedPhoto:
        """Decode a photo in one of the workers.

        Raises:
            Unusable: as in `prepare_photo`, or because the photo crashes the decoder.
        """
        executor = self._executor
        try:
            return executor.submit(prepare_photo, data, size).result()
        except BrokenProcessPool:
            self._replace(executor)
        # This photo or another one that was being decoded caused the crash, so each is retried in a process of its own.
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
    # Spawned, not forked: the caller has threads, and perhaps torch and a GPU.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_in_worker)


def _in_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what to do
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    keep_freed_memory()
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """End this worker when its parent ends; otherwise the worker of a killed parent would wait for work forever."""
    parent.join()
    os._exit(1)
