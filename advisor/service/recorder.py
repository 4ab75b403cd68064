"""Writes down a run as it happens, and tells whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from advisor.domain import Stage, StageResult, Window
from advisor.loadtest.execute import Observer
from advisor.loadtest.protocol import SecondRecord
from advisor.service import news
from advisor.service.bus import Feed, News
from advisor.store import Second, Store

Clock = Callable[[], float]


class Recorder(Observer):
    """One run's. Writes go through one thread, in order, so that a slow disk never delays the load."""

    def __init__(self, store: Store, run_id: str, feed: Feed, clock: Clock) -> None:
        self._store = store
        self._run_id = run_id
        self._feed = feed
        self._clock = clock
        self._position = -1
        self._windows: list[Window] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._last: Future[None] | None = None
        self._failure: BaseException | None = None

    def on_stage_start(self, stage: Stage) -> None:
        """Before its first request."""
        self._position += 1
        self._windows.clear()
        self._write(self._store.runs.begin_stage, self._run_id, self._position, stage)
        self._tell(News.STAGE_START, news.stage_start(self._position, stage))

    def on_second(self, record: SecondRecord) -> None:
        """Keep it, so that a kill loses at most the next."""
        second = Second(
            record.start,
            record.end,
            record.log,
            record.dropped,
            record.dispatch_delay_p99,
            record.cpu,
            record.in_flight,
            tuple(self._windows),
            record.streams,
        )
        self._windows.clear()
        self._write(self._store.runs.add_second, self._run_id, self._position, second)
        self._tell(News.SECOND, news.second(self._position, record.stage, second))

    def on_window(self, window: Window) -> None:
        """Written with the next second."""
        self._windows.append(window)

    def on_change(self, what: str, replicas: int | None) -> None:
        """Its result is among the findings."""
        self._tell(News.CHANGE, {"what": what, "replicas": replicas})

    def on_stage_end(self, result: StageResult) -> None:
        """The whole stage in place of its seconds."""
        self._write(self._store.runs.end_stage, self._run_id, self._position, result)
        self._tell(News.STAGE_END, news.stage_end(self._position, result))

    async def flush(self) -> None:
        """Wait until all is written.

        Raises:
            SQLAlchemyError: the store could not take it.
        """
        if self._last is not None:
            await asyncio.wrap_future(self._last)
        self._raise()

    def close(self) -> None:
        """End the thread."""
        self._writer.shutdown(wait=False)

    def _tell(self, kind: News, data: news.Data) -> None:
        self._feed.publish(kind, self._clock(), data)

    def _write(self, function: Callable[..., None], *args: Any) -> None:
        self._raise()
        self._last = self._writer.submit(self._guarded, function, args)

    def _guarded(self, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self._failure is not None:
            return
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 - raised at the next news, where it ends the run
            self._failure = error

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
