"""What a spike showed: how bad it got, and how long until it was over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.domain import Slo, StageResult
from advisor.loadtest.findings.timeline import (
    PER_INTERVAL,
    calm_latency,
    first_calm,
    timeline,
    tolerated_failures,
    watched,
)
from advisor.loadtest.plan.spike import spike_rates, spike_times

HOLD = 3  # calm intervals in a row before it counts as over


@dataclass(frozen=True, slots=True)
class SpikeFindings:
    """Rates in req/s, times in s. `recovery_seconds` runs from the end of the spike until the latency
    quantile is back within the objective (or 1.5 times what it was before, where that was above it) and no
    request fails; None when that did not happen before the run ended. `drained_seconds` likewise for the
    number in flight.
    """

    base_rps: float
    peak_rps: float
    growth: float  # peak over base: what the autoscaler must survive
    quantile: float
    latency_before: float | None
    latency_peak: float | None
    error_ratio: float | None  # of the requests that arrived in the spike or until it was over
    completed_peak_rps: float
    backlog_peak: float  # in flight above the usual of the base load
    drained_seconds: float | None
    recovery_seconds: float | None


def spike_findings(result: StageResult, slo: Slo) -> SpikeFindings | None:
    """From the spike stage of a run; None when it ended before the spike did."""
    base, peak = spike_rates(result.stage)
    begin, finish = spike_times(result.stage)
    if result.end - result.start <= finish:
        return None
    quantile, bound = watched(slo)
    width = max(1.0, PER_INTERVAL / base)
    line = timeline(result, quantile, width)
    before = line.time + width <= begin
    after = int(np.searchsorted(line.time, finish))
    usual = _median(line.latency[before])
    allowed = calm_latency(bound, usual)
    fast = (line.latency <= allowed) | (line.offered == 0)
    calm = fast & (line.failed_share <= tolerated_failures(line, before, slo)) & line.asked
    over = first_calm(calm, after, HOLD)
    standing = float(np.mean(line.in_flight[before])) if before.any() else 0.0
    spread = float(np.std(line.in_flight[before])) if before.any() else 0.0
    empty = first_calm((line.in_flight <= standing + 2 * spread + 1) & line.asked, after, HOLD)
    during = slice(int(np.searchsorted(line.time, begin)), after if over is None else max(over, after))
    arrived = float(line.offered[during].sum())
    return SpikeFindings(
        base_rps=base,
        peak_rps=peak,
        growth=peak / base,
        quantile=quantile,
        latency_before=usual,
        latency_peak=_highest(line.latency[during]),
        error_ratio=float(line.failed[during].sum()) / arrived if arrived else None,
        completed_peak_rps=float(line.completed[during].max(initial=0.0)),
        backlog_peak=max(float(line.in_flight[during].max(initial=0.0)) - standing, 0.0),
        drained_seconds=None if empty is None else max(float(line.time[empty]) - finish, 0.0),
        recovery_seconds=None if over is None else max(float(line.time[over]) - finish, 0.0),
    )


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def _highest(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else None
