"""What a stage tells: each second as it ends, and the whole at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import gevent
import numpy as np

from advisor.domain import Stage
from advisor.loadtest.engine.recorder import Columns, second_record
from advisor.loadtest.histogram import histogram_quantile, latency_buckets
from advisor.loadtest.protocol import SecondRecord, StageEnd

_REST_SECONDS = 0.1

_now = time.monotonic


class Source(Protocol):
    """Where requests end: the workers, or a locustfile's users."""

    dropped: int  # since it was last set to 0

    @property
    def in_flight(self) -> int:
        """Requests that have not ended."""

    def cut(self) -> Columns:
        """What has ended since the last cut."""


class Telling:
    """Cuts a source each second while a stage runs; `tell` gets the records. Times by `time.monotonic`."""

    def __init__(
        self, stage: Stage, source: Source, tell: Callable[[SecondRecord], None], epoch: float
    ) -> None:
        self._stage = stage
        self._source = source
        self._tell = tell
        self._epoch = epoch
        self._delays: Counter[int] = Counter()  # by bucket, so that a soak of days takes no more memory
        self._dropped = 0
        self._cpu = 0.0
        self.begin = self._cut_at = _now()
        self._begin_cpu = self._cut_cpu = time.process_time()
        self._ticker = gevent.spawn(self._tick)

    def sent(self) -> None:
        """The asking is over."""
        self._cpu = (time.process_time() - self._begin_cpu) / max(_now() - self.begin, 1e-3)

    def finish(self, end: float, reason: str, *, drained: bool) -> StageEnd:
        """Tell the rest; the stage's last word."""
        self._ticker.kill()
        self._cut(last=True)
        return StageEnd(
            stage=self._stage.name,
            start=self.begin - self._epoch,
            end=end - self._epoch,
            dropped=self._dropped,
            drained=drained,
            cpu=self._cpu,
            reason=reason,
            dispatch_delay_p50=histogram_quantile(self._delays, 0.50),
            dispatch_delay_p99=histogram_quantile(self._delays, 0.99),
        )

    def _tick(self) -> None:
        second = 0
        while True:
            second += 1
            gevent.sleep(max(0.0, self.begin + second - _now()))
            self._cut()

    def _cut(self, *, last: bool = False) -> None:
        now, cpu = _now(), time.process_time()
        columns = self._source.cut()
        dropped, self._source.dropped = self._source.dropped, 0
        self._dropped += dropped
        self._delays.update(latency_buckets(np.array(columns.delays)))
        seconds = now - self._cut_at
        if last and not columns.delays and not columns.end and not dropped and seconds < _REST_SECONDS:
            return  # a rest in which nothing happened is no record
        record = second_record(
            self._stage.name,
            columns,
            self._epoch,
            (self._cut_at, now),
            self._source.in_flight,
            dropped,
            (cpu - self._cut_cpu) / seconds if seconds > 0 else 0.0,
        )
        self._cut_at, self._cut_cpu = now, cpu
        self._tell(record)
