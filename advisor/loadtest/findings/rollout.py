"""What a rollout showed: before, during and after the change, and when the target was itself again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.domain import RequestLog, Slo, StageResult, failures
from advisor.loadtest.findings.timeline import (
    PER_INTERVAL,
    Bools,
    calm_latency,
    timeline,
    tolerated_failures,
    watched,
)
from advisor.loadtest.hook import Change
from advisor.loadtest.plan.common import named
from advisor.loadtest.plan.rollout import PHASES


@dataclass(frozen=True, slots=True)
class Phase:
    """Requests that were due in it. Latencies (s) of the successful ones; `failures` by outcome."""

    seconds: float
    requests: int
    failed: int
    failures: Mapping[str, int]
    error_ratio: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class RolloutFindings:
    """`failed_requests` are those of the change and after it. `trouble_seconds` runs from the begin of the
    change to the last interval in which latency or errors were out of the objective (or 1.5 times what they
    were before, where that was above it); 0 when there was none, None when it was so to the end of the run.
    """

    rate: float
    change_seconds: float
    before: Phase | None
    during: Phase | None
    after: Phase | None
    failed_requests: int
    quantile: float
    latency_before: float | None
    latency_worst: float | None
    trouble_seconds: float | None


def rollout_findings(
    history: Sequence[StageResult], changes: Sequence[Change], slo: Slo
) -> RolloutFindings | None:
    """From the phases of a run; None when it ended before the change began."""
    parts = {name: result for name in PHASES for result in named(history, name)}
    if not changes or not parts:
        return None
    change = changes[-1]
    phases = {name: _phase(result) for name, result in parts.items()}
    quantile, _ = watched(slo)
    usual, worst, trouble = _trouble(list(parts.values()), change, slo)
    failed = sum(phase.failed for name, phase in phases.items() if name != PHASES[0])
    return RolloutFindings(
        rate=next(iter(parts.values())).stage.rate,
        change_seconds=change.end - change.start,
        before=phases.get("before"),
        during=phases.get("during"),
        after=phases.get("after"),
        failed_requests=failed,
        quantile=quantile,
        latency_before=usual,
        latency_worst=worst,
        trouble_seconds=trouble,
    )


def _phase(result: StageResult) -> Phase:
    log = result.log
    latency = log.latency[log.ok]
    p50, p95, p99 = np.quantile(latency, (0.5, 0.95, 0.99)).tolist() if latency.size else (None, None, None)
    failed = failures(log.outcomes)
    return Phase(
        result.end - result.start, len(log), sum(failed.values()), failed, log.error_ratio, p50, p95, p99
    )


def _trouble(
    parts: Sequence[StageResult], change: Change, slo: Slo
) -> tuple[float | None, float | None, float | None]:
    """(latency before, worst since the change began, seconds of trouble)."""
    whole, (quantile, bound) = _joined(parts), watched(slo)
    width = max(1.0, PER_INTERVAL / max(whole.stage.rate, 1e-9))
    line = timeline(whole, quantile, width)
    begin = change.start - whole.start
    since = (line.time + width > begin) & line.asked
    known = np.isfinite(line.latency)
    usual = line.latency[~since & known & line.asked]
    before = float(np.median(usual)) if usual.size else None
    allowed = calm_latency(bound, before)
    failing = line.failed_share > tolerated_failures(line, ~since, slo)
    slow = line.latency > allowed if allowed else np.zeros_like(failing)
    bad = np.flatnonzero(since & (failing | _held(slow)))
    seen = line.latency[since & known]
    worst = float(seen.max()) if seen.size else None
    if not bad.size:
        return before, worst, 0.0
    last = int(np.flatnonzero(line.asked)[-1])
    back = None if bad[-1] >= last else float(line.time[bad[-1]]) + width - begin
    return before, worst, back


def _held(slow: Bools) -> Bools:
    """Slow intervals that have a slow neighbour: one alone is noise."""
    beside = np.zeros_like(slow)
    beside[1:] |= slow[:-1]
    beside[:-1] |= slow[1:]
    return np.logical_and(slow, beside)


def _joined(parts: Sequence[StageResult]) -> StageResult:
    first, last = parts[0], parts[-1]
    log = RequestLog.concat(part.log for part in parts)
    return StageResult(first.stage, first.start, last.end, log, sum(part.dropped for part in parts))
