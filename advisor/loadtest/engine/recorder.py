"""What ended, column by column, until the second is over."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from advisor.domain import Floats, RequestLog, StreamLog
from advisor.loadtest.histogram import gap_histogram, latency_buckets
from advisor.loadtest.protocol import SecondRecord, Told


@dataclass(slots=True)
class Columns:
    """Requests that have ended since the last cut; times in seconds of `time.monotonic`."""

    intended: array[float] = field(default_factory=lambda: array("d"))
    sent: array[float] = field(default_factory=lambda: array("d"))
    end: array[float] = field(default_factory=lambda: array("d"))
    outcome: array[int] = field(default_factory=lambda: array("b"))
    kind: array[int] = field(default_factory=lambda: array("h"))
    delays: array[float] = field(default_factory=lambda: array("d"))  # of all that were dispatched
    streams: list[tuple[float, float, float, float, int]] = field(default_factory=list)
    gaps: array[float] = field(default_factory=lambda: array("d"))  # between tokens
    told: list[Told] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # names that came up, where they are not known before

    def add(self, intended: float, sent: float, end: float, outcome: int, kind: int) -> None:
        """One more request."""
        self.intended.append(intended)
        self.sent.append(sent)
        self.end.append(end)
        self.outcome.append(outcome)
        self.kind.append(kind)

    def add_stream(
        self, intended: float, sent: float, times: Sequence[float], tokens: int | None = None
    ) -> None:
        """When one answer's tokens came, and how many they were: one at a time unless told."""
        self.streams.append((intended, sent, times[0], times[-1], tokens or len(times)))
        self.gaps.extend(b - a for a, b in itertools.pairwise(times))

    def stream_log(self, epoch: float) -> StreamLog | None:
        """Streamed answers with times as seconds since `epoch`; None without any."""
        if not self.streams:
            return None
        intended, sent, first, last, tokens = (np.array(c) for c in zip(*self.streams, strict=True))
        return StreamLog(
            intended - epoch,
            sent - epoch,
            first - epoch,
            last - epoch,
            tokens.astype(np.int64),
            gap_histogram(np.array(self.gaps)),
        )

    def log(self, epoch: float) -> RequestLog:
        """Times as seconds since `epoch`, sorted by the intended time."""
        log = RequestLog(
            np.array(self.intended) - epoch,
            np.array(self.sent) - epoch,
            np.array(self.end) - epoch,
            np.array(self.outcome, np.int8),
            np.array(self.kind, np.int16),
        )
        return log.select(np.argsort(log.intended, kind="stable").astype(np.int64))


def quantiles(delays: Floats) -> tuple[float | None, float | None]:
    """p50 and p99; None without values."""
    if not delays.size:
        return None, None
    p50, p99 = np.quantile(delays, [0.5, 0.99])
    return float(p50), float(p99)


def second_record(
    stage: str,
    columns: Columns,
    epoch: float,
    bounds: tuple[float, float],
    in_flight: int,
    dropped: int,
    cpu: float,
) -> SecondRecord:
    """The record of what `columns` hold; `bounds` are the second's ends by `time.monotonic`."""
    log = columns.log(epoch)
    p50, p99 = quantiles(np.array(columns.delays))
    return SecondRecord(
        stage=stage,
        start=bounds[0] - epoch,
        end=bounds[1] - epoch,
        counts=log.outcomes,
        histogram=latency_buckets(log.latency[log.ok]),
        log=log,
        in_flight=in_flight,
        dropped=dropped,
        cpu=cpu,
        dispatch_delay_p50=p50,
        dispatch_delay_p99=p99,
        streams=columns.stream_log(epoch),
        told=tuple(columns.told),
        kinds=tuple(columns.kinds),
    )
