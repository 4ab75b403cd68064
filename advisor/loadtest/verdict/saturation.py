"""Does the server keep up with what is asked of it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.domain import Floats, RequestLog, StageResult
from advisor.loadtest.verdict.trend import trend

POINTS = 60
FEWEST = 30  # requests; below, nothing is said
SURE = 3.0  # t of the slope
MATTERS = 0.01  # of the arrivals pile up


def in_flight_at(log: RequestLog, times: Floats) -> Floats:
    """Number of requests between their intended start and their end at each of `times`."""
    arrived = np.searchsorted(log.intended, times, side="right")
    ended = np.searchsorted(np.sort(log.end), times, side="right")
    return (arrived - ended).astype(float)


@dataclass(frozen=True, slots=True)
class Growth:
    """Slope of the number in flight (requests/s) over a stage, its t value, and whether the server falls
    behind.
    """

    slope: float
    t: float
    saturated: bool


def backlog_growth(result: StageResult) -> Growth:
    """OLS of the number in flight on time over the asking, Newey-West (HAC) errors because neighbours are
    alike.

    The idea is GuideLLM's over-saturation test. Saturated: t above 3, more than 1 % of the arrivals pile
    up, and the second half holds at least half as many again as the first.
    """
    log, seconds = result.log, result.end - result.start
    if len(log) < FEWEST or seconds <= 0:
        return Growth(0.0, 0.0, False)
    full = result.dropped > MATTERS * len(log)  # at the in-flight cap the backlog cannot grow any more
    times = np.linspace(result.start, result.end, POINTS + 2)[1:-1]
    depth = in_flight_at(log, times)
    if float(np.ptp(depth)) == 0:
        return Growth(0.0, 0.0, full)
    fit = trend(times, depth, lags=POINTS // 5)
    assert fit is not None, "POINTS are enough"
    half = POINTS // 2
    saturated = full or (
        fit.t > SURE
        and fit.slope > MATTERS * len(log) / seconds
        and depth[half:].mean() > 1.5 * depth[:half].mean() + 1
    )
    return Growth(fit.slope, fit.t, bool(saturated))
