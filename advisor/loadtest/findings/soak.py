"""What a soak showed: does latency drift, does memory leak, and how long until a limit?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.domain import Floats, Slo, StageResult
from advisor.loadtest.findings.timeline import timeline, watched
from advisor.loadtest.verdict.trend import trend

POINTS = 60  # of the latency series
SETTLING = 0.1  # first share of the soak that is left out: connections, caches
MATTERS = 0.01  # of the level, over the soak: less is no finding, however sure


@dataclass(frozen=True, slots=True)
class Drift:
    """A slope a second with its 95 % interval (Newey-West); `level` at the end, `limit` in the same unit.

    `grows`: the interval lies above zero, it matters (1 % over the soak), and it goes on in the second
    half, which a cache that fills does not. `seconds_to_limit` from the end of the soak, only where it
    grows.
    """

    slope: float
    low: float
    high: float
    level: float
    grows: bool
    limit: float | None
    seconds_to_limit: float | None


@dataclass(frozen=True, slots=True)
class SoakFindings:
    """`latency` in s (the objective's quantile), `memory` and `gpu_memory` in bytes; None where it cannot be
    told.
    """

    seconds: float
    requests: int
    error_ratio: float | None
    quantile: float
    latency: Drift | None
    memory: Drift | None
    gpu_memory: Drift | None


def soak_findings(result: StageResult, slo: Slo) -> SoakFindings:
    """From the soak stage of a run, also one that was cut short."""
    quantile, bound = watched(slo)
    seconds = result.end - result.start
    total = len(result.log)
    return SoakFindings(
        seconds=seconds,
        requests=total,
        error_ratio=result.log.error_ratio,
        quantile=quantile,
        latency=_latency(result, quantile, bound),
        memory=_memory([(w.end, w.memory_bytes, w.memory_limit_bytes) for w in result.windows]),
        gpu_memory=_memory([(w.end, w.gpu_memory_bytes, w.gpu_memory_limit_bytes) for w in result.windows]),
    )


def drift(times: Floats, values: Floats, limit: float | None) -> Drift | None:
    """The trend of a series (s, unit) after its settling; None with too few points."""
    keep = np.isfinite(values) & (times >= times[0] + SETTLING * (times[-1] - times[0]))
    x, y = times[keep], values[keep]
    whole = trend(x, y)
    if whole is None:
        return None
    late = trend(x[x.size // 2 :], y[y.size // 2 :])
    rise = whole.slope * float(x[-1] - x[0])
    lasting = late is not None and late.low > 0 and late.slope > whole.slope / 3
    grows = whole.low > 0 and lasting and rise > MATTERS * abs(whole.end_level)
    left = None
    if grows and limit is not None:
        left = max(limit - whole.end_level, 0.0) / whole.slope
    return Drift(whole.slope, whole.low, whole.high, whole.end_level, grows, limit, left)


def _latency(result: StageResult, quantile: float, limit: float | None) -> Drift | None:
    seconds = result.end - result.start
    if seconds <= 0 or len(result.log) < 20 * 8:
        return None
    points = min(POINTS, len(result.log) // 20)
    line = timeline(result, quantile, seconds / points)
    inside = line.time < seconds * (1 - 0.5 / points)
    return drift(line.time[inside], line.latency[inside], limit)


def _memory(readings: Sequence[tuple[float, float | None, float | None]]) -> Drift | None:
    """From (Unix s, bytes, limit) of each window."""
    known = [(time, used) for time, used, _ in readings if used is not None]
    if len(known) < 8:
        return None
    limit = next((most for *_, most in reversed(readings) if most), None)
    times, values = np.array(known, float).T
    return drift(times - times[0], values, limit)
