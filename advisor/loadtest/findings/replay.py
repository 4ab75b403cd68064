"""What a replay showed: how well the objective held on the real shape of the demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.domain import Slo, StageResult
from advisor.loadtest.findings.timeline import PER_INTERVAL, timeline, watched

MOST_INTERVALS = 2000


@dataclass(frozen=True, slots=True)
class Worst:
    """The interval with the most requests out of the objective. `at`: s since the replay began."""

    at: float
    seconds: float
    offered_rps: float
    completed_rps: float
    latency: float | None
    error_ratio: float


@dataclass(frozen=True, slots=True)
class ReplayFindings:
    """`time_within`: share of the intervals with requests in which quantile and errors held the objective;
    `requests_within`: share of the requests that were answered as expected within the bound.
    """

    seconds: float
    requests: int
    mean_rps: float
    peak_rps: float
    quantile: float
    interval_seconds: float
    time_within: float
    requests_within: float
    error_ratio: float | None
    latency: float | None
    worst: Worst


def replay_findings(result: StageResult, slo: Slo) -> ReplayFindings | None:
    """From the replay stage of a run, also one that was cut short; None without a request that tells."""
    log, seconds = result.log, result.end - result.start
    told = ~log.cut
    if seconds <= 0 or not told.any():
        return None
    quantile, bound = watched(slo)
    limit = np.inf if bound is None else bound
    mean = len(log) / seconds
    width = max(1.0, PER_INTERVAL / mean, seconds / MOST_INTERVALS)
    line = timeline(result, quantile, width)
    share = line.failed_share
    had = line.offered > 0
    slow = np.nan_to_num(line.latency, nan=0.0) > limit
    held = ~slow & (share <= slo.error_ratio)
    good = log.ok & (log.latency <= limit)
    at = _worst(result, line.time, width, told & ~good)
    return ReplayFindings(
        seconds=seconds,
        requests=len(log),
        mean_rps=mean,
        peak_rps=float(line.offered.max()),
        quantile=quantile,
        interval_seconds=width,
        time_within=float(held[had].mean()),
        requests_within=float(good[told].mean()),
        error_ratio=log.error_ratio,
        latency=float(np.quantile(log.latency[log.ok], quantile)) if log.ok.any() else None,
        worst=Worst(
            at=float(line.time[at]),
            seconds=width,
            offered_rps=float(line.offered[at]),
            completed_rps=float(line.completed[at]),
            latency=float(line.latency[at]) if np.isfinite(line.latency[at]) else None,
            error_ratio=float(share[at]),
        ),
    )


def _worst(result: StageResult, begins: np.ndarray, width: float, bad: np.ndarray) -> int:
    """Most requests out of the objective; among equals the slowest one."""
    arrived = np.clip(((result.log.intended - result.start) / width).astype(int), 0, begins.size - 1)
    counts = np.bincount(arrived[bad], minlength=begins.size).astype(float)
    slowest = np.zeros(begins.size)
    np.maximum.at(slowest, arrived, result.log.latency)
    return int(np.lexsort((slowest, counts))[-1])
