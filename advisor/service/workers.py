"""Processes for fits and simulations: they hold the interpreter's lock for seconds."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)
_NICENESS = 5  # a fit may wait, a measurement may not


class Workers:
    """A pool that starts when it is first needed, and starts anew once when a worker was killed."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size or min(2, os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Its result; blocks the calling thread. Function and arguments must be picklable."""
        try:
            return self.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            if self._closed:
                raise
            _log.warning("a worker process died in %s; trying once more", function.__qualname__)
            self._forget()
            return self.submit(function, *args, **kwargs).result()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start it in a worker."""
        with self._lock:
            if self._closed:
                raise BrokenProcessPool("the workers were ended")
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._size, mp_context=multiprocessing.get_context("spawn"), initializer=_initialize
                )
            return self._pool.submit(function, *args, **kwargs)

    def close(self) -> None:
        """End the workers, also one in the middle of a fit; there are none afterwards."""
        self._closed = True
        pool = self._forget()
        if pool is None:
            return
        processes = list((pool._processes or {}).values())  # noqa: SLF001 - public from Python 3.14 on
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(5)

    def _forget(self) -> ProcessPoolExecutor | None:
        with self._lock:
            pool, self._pool = self._pool, None
        return pool


def _initialize() -> None:
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to answer
    # A killed parent closes no pipe that its workers wait on, because they hold both ends of it.
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
