"""A stage as a series: what was offered, answered and slow, interval after interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.domain import Floats, Slo, StageResult
from advisor.loadtest.verdict.saturation import in_flight_at

Bools = NDArray[np.bool_]

PER_INTERVAL = 20  # requests, so that a p95 means something
_CALM = 1.5  # times the latency before, where that is above the objective


@dataclass(frozen=True, slots=True)
class Timeline:
    """Arrays of equal length, one value an interval. `time`: its begin, in seconds since the stage began.

    `latency`: the asked quantile (s) of requests that *arrived* in the interval, NaN where none succeeded;
    `offered`, `failed`: of those that arrived (req/s); `completed`: of those that ended in it (req/s);
    `in_flight`: at its end.
    """

    width: float
    time: Floats
    latency: Floats
    offered: Floats
    failed: Floats
    completed: Floats
    in_flight: Floats
    asked: Bools

    @property
    def failed_share(self) -> Floats:
        """Of the requests that arrived in each interval, how many failed; 0 where none arrived."""
        return np.divide(self.failed, self.offered, out=np.zeros_like(self.failed), where=self.offered > 0)


def watched(slo: Slo) -> tuple[float, float | None]:
    """The quantile that findings follow, and its bound (s): the objective's first, or a p95 without one."""
    return (slo.latency[0].quantile, slo.latency[0].seconds) if slo.latency else (0.95, None)


def calm_latency(bound: float | None, before: float | None) -> float:
    """Up to here (s) the target is as it was: within the objective, or not much slower than `before`."""
    return max(bound or 0.0, _CALM * (before or 0.0))


def tolerated_failures(line: Timeline, before: Bools, slo: Slo) -> float:
    """The share that may fail: the objective's, or as before, where the target always fails some."""
    return max(slo.error_ratio, float(line.failed_share[before].max(initial=0.0)))


def timeline(result: StageResult, quantile: float, width: float) -> Timeline:
    """Intervals of `width` seconds from the stage's begin to its last answer."""
    log = result.log
    last = max(result.end, float(log.end.max(initial=result.end))) - result.start
    count = max(int(np.ceil(last / width)), 1)
    edges: Floats = result.start + width * np.arange(count + 1, dtype=np.float64)
    arrived = np.clip(((log.intended - result.start) / width).astype(int), 0, count - 1)
    ended = np.clip(((log.end - result.start) / width).astype(int), 0, count - 1)
    latency = np.full(count, np.nan)
    order = np.argsort(arrived[log.ok], kind="stable")
    values = log.latency[log.ok][order]
    cuts = np.searchsorted(arrived[log.ok][order], np.arange(count + 1))
    for i in range(count):
        if cuts[i + 1] > cuts[i]:
            latency[i] = np.quantile(values[cuts[i] : cuts[i + 1]], quantile)
    return Timeline(
        width=width,
        time=edges[:-1] - result.start,
        latency=latency,
        offered=np.bincount(arrived, minlength=count) / width,
        failed=np.bincount(arrived[log.failed], minlength=count) / width,
        completed=np.bincount(ended[log.ok], minlength=count) / width,
        in_flight=in_flight_at(log, edges[1:]),
        asked=edges[:-1] + width / 2 <= result.end,
    )


def first_calm(calm: Bools, start: int, hold: int) -> int | None:
    """Index of the first interval from `start` on that begins `hold` calm ones in a row, or None."""
    run = 0
    for i in range(start, calm.size):
        run = run + 1 if calm[i] else 0
        if run == hold:
            return i - hold + 1
    return None
