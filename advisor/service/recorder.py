"""Writes down a run as it happens, and tells whoever watches.

Data of the news (times in s since the run began, rates in req/s, None where not known):

started      target, scenario, slo, budget, rate_cap
stage_start  position, name, arrivals, rate, seconds, at
second       position, name, start, end, requests, completed_rps, counts, p50, p95, p99, in_flight, dropped
stage_end    position, name, rate, seconds, requests, completed_rps, p50, p95, p99, errors, dropped
estimate     rps, interval, form; or refusal
fitting      stages, requests
verdict      status, reasons, capacity {rps, interval, limited_by}, refusal
done         status, reason
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from advisor.domain import Arrivals, Floats, Outcome, Stage, StageResult, Window
from advisor.loadtest.execute import Observer
from advisor.loadtest.protocol import SecondRecord
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
        self._tell(
            News.STAGE_START,
            name=stage.name,
            arrivals=stage.arrivals.value,
            rate=stage.rate or None,
            seconds=stage.seconds,
        )

    def on_second(self, record: SecondRecord) -> None:
        """Keep it, so that a kill loses at most the next."""
        second = Second(
            record.start,
            record.end,
            record.log,
            record.dropped,
            record.dispatch_delay_p99,
            record.cpu,
            tuple(self._windows),
        )
        self._windows.clear()
        self._write(self._store.runs.add_second, self._run_id, self._position, second)
        length = record.end - record.start
        completed = int(np.count_nonzero(record.log.ok))
        self._tell(
            News.SECOND,
            name=record.stage,
            start=record.start,
            end=record.end,
            requests=len(record.log),
            completed_rps=completed / length if length > 0 else None,
            counts=dict(record.counts),
            in_flight=record.in_flight,
            dropped=record.dropped,
            **quantiles(record.log.latency[record.log.ok]),
        )

    def on_window(self, window: Window) -> None:
        """Written with the next second."""
        self._windows.append(window)

    def on_stage_end(self, result: StageResult) -> None:
        """The whole stage in place of its seconds."""
        self._write(self._store.runs.end_stage, self._run_id, self._position, result)
        self._tell(News.STAGE_END, name=result.stage.name, **stage_figures(result))

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

    def _tell(self, kind: News, **data: Any) -> None:
        self._feed.publish(kind, self._clock(), {"position": self._position, **data})

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


def quantiles(latency: Floats) -> dict[str, float | None]:
    """p50, p95 and p99 in seconds; None without requests."""
    if not latency.size:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.quantile(latency, (0.5, 0.95, 0.99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


def _rate(result: StageResult) -> float | None:
    """What was asked; the mean of what was offered where the rate changed; none where all came at once."""
    match result.stage.arrivals:
        case Arrivals.POISSON | Arrivals.CONSTANT:
            return result.stage.rate
        case Arrivals.VOLLEY:
            return None
        case _:
            return result.offered_rps


def stage_figures(result: StageResult) -> dict[str, Any]:
    """A stage in the keys of the command line's `--json`."""
    log = result.log
    return {
        "rate": _rate(result),
        "seconds": result.end - result.start,
        "requests": len(log),
        "completed_rps": result.completed_rps,
        **quantiles(log.latency[log.ok]),
        "errors": int(np.count_nonzero(log.outcome != Outcome.OK)),
        "dropped": result.dropped,
    }
