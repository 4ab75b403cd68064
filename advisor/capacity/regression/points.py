"""Stages of a run, or production windows, reduced to what the regressions need: one point a load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.domain import Arrivals, Histogram, LatencyBound, Outcome, StageResult, Window

OPEN_LOOP = (Arrivals.POISSON, Arrivals.CONSTANT)
_POOLED_BINS = 12
_FAILED_LABELS = ("server_error", "rejected", "timeout")


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One replica at one load, seen against one latency bound.

    rate: arrivals/s, 0 for a single stream, where nobody waits; quantile and mean: latency in seconds of
    the answers that came; violations: answers slower than the bound; failed: errors, rejections, timeouts.
    """

    rate: float
    seconds: float
    answered: float
    quantile: float
    mean: float
    violations: float
    failed: float = 0.0
    completed_rps: float = 0.0
    stable: bool = True

    @property
    def requests(self) -> float:
        """Answered or failed."""
        return self.answered + self.failed

    @property
    def in_flight(self) -> float:
        """Little's law: arrivals/s × mean latency."""
        return self.rate * self.mean


@dataclass(frozen=True, slots=True)
class CpuPoint:
    """The model's CPU (cores) at one request rate (requests/s), over `seconds`, per replica."""

    rate: float
    cores: float
    seconds: float


def fewest_answers(quantile: float) -> float:
    """Answers below which a quantile is not worth a point: two beyond it are expected."""
    return 2.0 / (1.0 - quantile)


def points_of_stages(stages: Sequence[StageResult], bound: LatencyBound) -> list[LoadPoint]:
    """One point an open-loop stage, sorted by rate; too few answers give none.

    Of the single streams before any load the last is a point too: it is warm, and behind no backlog.
    """
    alone = 0
    while alone < len(stages) and stages[alone].stage.arrivals is Arrivals.SINGLE:
        alone += 1
    used = [stage for stage in stages[alone:] if stage.stage.arrivals in OPEN_LOOP]
    points = (_point_of_stage(stage, bound) for stage in (*stages[max(alone - 1, 0) : alone], *used))
    return sorted((point for point in points if point is not None), key=lambda point: point.rate)


def _point_of_stage(result: StageResult, bound: LatencyBound) -> LoadPoint | None:
    single = result.stage.arrivals is Arrivals.SINGLE
    seconds = result.end - result.start
    if seconds <= 0:
        return None
    log = result.log
    latency = log.latency[log.ok]
    if latency.size < fewest_answers(bound.quantile):
        return None
    failed = (
        len(log) - latency.size - int(np.count_nonzero(log.outcome == Outcome.CANCELLED)) + result.dropped
    )
    offered, completed = result.offered_rps or 0.0, result.completed_rps or 0.0
    quantile = float(np.quantile(latency, bound.quantile))
    return LoadPoint(
        rate=0.0 if single else offered,
        seconds=seconds,
        answered=float(latency.size),
        quantile=quantile,
        mean=float(latency.mean()),
        violations=float(np.count_nonzero(latency > bound.seconds)) + result.dropped,
        failed=float(failed),
        completed_rps=completed,
        stable=single or _stable(offered, completed, seconds, quantile, bound, failed / max(len(log), 1)),
    )


def _stable(
    offered: float, completed: float, seconds: float, quantile: float, bound: LatencyBound, failed: float
) -> bool:
    """Whether the server kept up, so that the stage's quantile is a steady state's."""
    kept_up = completed >= 0.95 * offered - 2.0 * np.sqrt(offered / seconds)
    return bool(kept_up and quantile <= 6.0 * bound.seconds and failed < 0.02)


def cpu_of_stages(stages: Sequence[StageResult]) -> list[CpuPoint]:
    """One point a steady stage, and every window of a ramp, where the windows tell the CPU; in time order."""
    points: list[CpuPoint] = []
    for stage in stages:
        found = cpu_of_windows(stage.windows)
        if found and (stage.stage.arrivals is Arrivals.SINGLE or stage.stage.arrivals in OPEN_LOOP):
            found = [_pooled_cpu(found)]
        points += found
    return points


def _pooled_cpu(points: Sequence[CpuPoint]) -> CpuPoint:
    seconds = sum(point.seconds for point in points)
    rate = sum(point.rate * point.seconds for point in points) / seconds
    return CpuPoint(rate, sum(point.cores * point.seconds for point in points) / seconds, seconds)


def cpu_of_windows(windows: Sequence[Window]) -> list[CpuPoint]:
    """Windows that tell the CPU, per replica, in time order."""
    return [
        CpuPoint(window.arrival_rps / window.replicas, window.cpu_cores / window.replicas, window.seconds)
        for window in sorted(windows, key=lambda window: window.start)
        if window.cpu_cores is not None and window.seconds > 0
    ]


def points_of_windows(
    windows: Sequence[Window], bound: LatencyBound, bins: int = _POOLED_BINS
) -> list[LoadPoint]:
    """Production windows pooled by load into at most `bins` points: histograms are merged, then read."""
    usable = [window for window in windows if window.latency is not None and window.latency.total > 0]
    if not usable:
        return []
    usable.sort(key=lambda window: window.arrival_rps / window.replicas)
    weight = np.cumsum([sum(window.requests.values()) for window in usable])
    edges = np.searchsorted(weight, np.linspace(0, weight[-1], bins + 1)[1:-1])
    groups = np.split(np.arange(len(usable)), np.unique(edges))
    points = (_pooled([usable[i] for i in group], bound) for group in groups if group.size)
    return [point for point in points if point is not None]


def _pooled(windows: Sequence[Window], bound: LatencyBound) -> LoadPoint | None:
    histogram = merge([window.latency for window in windows if window.latency is not None])
    quantile = histogram.quantile(bound.quantile) if histogram else None
    if histogram is None or quantile is None or histogram.total < fewest_answers(bound.quantile):
        return None
    replica_seconds = sum(window.seconds * window.replicas for window in windows)
    requests = sum(sum(window.requests.values()) for window in windows)
    failed = sum(window.requests.get(name, 0.0) for window in windows for name in _FAILED_LABELS)
    rate = requests / replica_seconds
    return LoadPoint(
        rate=rate,
        seconds=replica_seconds,
        answered=histogram.total,
        quantile=quantile,
        mean=_mean_latency(windows, histogram, requests),
        violations=above(histogram, bound.seconds),
        failed=failed,
        completed_rps=histogram.total / replica_seconds,
        stable=quantile <= 6.0 * bound.seconds and failed < 0.02 * requests,
    )


def _mean_latency(windows: Sequence[Window], histogram: Histogram, requests: float) -> float:
    """Little's law on the exact in-flight and queue integrals where known, else the histogram's own mean."""
    if requests > 0 and all(window.in_flight is not None for window in windows):
        held = sum(
            ((window.in_flight or 0.0) + (window.queue_depth or 0.0)) * window.seconds for window in windows
        )
        if held > 0:
            return held / requests
    lower = np.concatenate([[0.0], histogram.bounds])
    middle = np.concatenate([(lower[:-1] + histogram.bounds) / 2, histogram.bounds[-1:]])
    return float(np.average(middle, weights=histogram.counts))


def merge(histograms: Sequence[Histogram]) -> Histogram | None:
    """Sum of histograms that share their bounds; those that differ from the first are left out."""
    if not histograms:
        return None
    bounds = histograms[0].bounds
    same = [h.counts for h in histograms if h.bounds.size == bounds.size and np.array_equal(h.bounds, bounds)]
    return Histogram(bounds, np.sum(same, axis=0))


def above(histogram: Histogram, seconds: float) -> float:
    """Observations above `seconds`, linear inside the bucket that holds it."""
    cumulative = np.concatenate([[0.0], np.cumsum(histogram.counts[:-1])])
    edges = np.concatenate([[0.0], histogram.bounds])
    return histogram.total - float(np.interp(seconds, edges, cumulative))
