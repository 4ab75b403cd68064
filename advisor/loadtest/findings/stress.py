"""What a stress run showed: how the server fails, and how it recovers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from advisor.domain import Outcome, Slo, StageResult
from advisor.loadtest.findings.timeline import PER_INTERVAL, first_calm, timeline, watched
from advisor.units import format_rate

HOLD = 3
FAILS = 0.02  # share of requests from which failing counts as the way it fails
COLLAPSE = 0.6  # of its best throughput


class FailureMode(StrEnum):
    """How a server behaves beyond its capacity."""

    HOLDS = "holds"  # it did not fail at the loads that were asked
    SHEDS = "sheds"  # it rejects what is too much and goes on serving
    SLOWS = "slows"  # it answers everything, later and later
    COLLAPSES = "collapses"  # it serves less and less
    ERRORS = "errors"  # it answers 5xx
    DIES = "dies"  # it stops answering: resets, refusals, time-outs


@dataclass(frozen=True, slots=True)
class Step:
    """One load: req/s, the objective's latency quantile in s, share of failed requests."""

    rate: float
    completed_rps: float
    latency: float | None
    error_ratio: float


@dataclass(frozen=True, slots=True)
class StressFindings:
    """`first_failing_rps`: the lowest step whose latency or errors broke the objective; `recovery_seconds`
    from the return to a low load until latency and errors are within the objective again, None if that did
    not happen.
    """

    mode: FailureMode
    why: str
    steps: tuple[Step, ...]
    first_failing_rps: float | None
    best_rps: float
    recovery_seconds: float | None


def stress_findings(result: StageResult, slo: Slo) -> StressFindings | None:
    """From the stairs of a stress run; None when it ended on its first step."""
    quantile, limit = watched(slo)
    bound = np.inf if limit is None else limit
    log, spans = result.log, _spans(result)
    if len(spans) < 2:
        return None
    up, back = spans[:-1], spans[-1]
    steps = tuple(_step(result, begin, end, rate, quantile, bound) for begin, end, rate in up)
    best = max(step.completed_rps for step in steps)
    failing = [s for s in steps if (s.latency or 0.0) > bound or s.error_ratio > max(slo.error_ratio, 0.001)]
    mode, why = _mode(result, steps, best, bool(failing), back[0])
    width = max(1.0, PER_INTERVAL / max(back[2], 1e-9))
    line = timeline(result, quantile, width)
    fast = (line.latency <= bound) | (line.offered == 0)
    calm = fast & (line.failed_share <= slo.error_ratio) & line.asked
    over = first_calm(calm, int(np.searchsorted(line.time, back[0])), HOLD) if len(log) else None
    return StressFindings(
        mode=mode,
        why=why,
        steps=steps,
        first_failing_rps=failing[0].rate if failing else None,
        best_rps=best,
        recovery_seconds=None if over is None else max(float(line.time[over]) - back[0], 0.0),
    )


def _spans(result: StageResult) -> list[tuple[float, float, float]]:
    """(begin, end, rate) of the flat parts of the curve that were reached, seconds since the stage began."""
    curve, reached = result.stage.curve, result.end - result.start
    flat = [(t0, t1, v0) for (t0, v0), (t1, v1) in pairwise(curve) if v0 == v1]
    return [(begin, min(end, reached), value) for begin, end, value in flat if begin < reached]


def _step(result: StageResult, begin: float, end: float, rate: float, quantile: float, bound: float) -> Step:
    log = result.log
    arrived = (log.intended >= result.start + begin) & (log.intended < result.start + end)
    good = log.latency[arrived & log.ok]
    # Cut when it was over the bound, a request was left unanswered; cut before, it says nothing.
    bad = log.failed | (log.cut & (log.latency > bound))
    told = arrived & (log.ok | bad)
    ended = log.ok & (log.end >= result.start + begin) & (log.end < result.start + end)
    return Step(
        rate=rate,
        completed_rps=float(ended.sum()) / max(end - begin, 1e-9),
        latency=float(np.quantile(good, quantile)) if good.size else None,
        error_ratio=float(bad[told].mean()) if told.any() else 0.0,
    )


def _mode(
    result: StageResult, steps: tuple[Step, ...], best: float, failed: bool, back: float
) -> tuple[FailureMode, str]:
    log = result.log
    climbing = log.select(log.intended < result.start + back)
    total = max(len(climbing), 1)
    rejected = int((climbing.outcome == Outcome.REJECTED).sum())
    errors = int((climbing.outcome == Outcome.SERVER_ERROR).sum())
    gone = int(np.isin(climbing.outcome, (Outcome.CONNECTION, Outcome.TIMEOUT)).sum())
    kinds = {FailureMode.SHEDS: rejected, FailureMode.ERRORS: errors, FailureMode.DIES: gone}
    mode, count = max(kinds.items(), key=lambda item: item[1])
    top = steps[-1]
    completed = format_rate(top.completed_rps)
    if top.completed_rps < COLLAPSE * best and top.rate > best:
        text = f"at {format_rate(top.rate)} it completes {completed}, at best it did {format_rate(best)}"
        return (mode if count > FAILS * total and mode is FailureMode.DIES else FailureMode.COLLAPSES), text
    if count > FAILS * total:
        words = {
            FailureMode.SHEDS: "were rejected (429 or 503)",
            FailureMode.ERRORS: "were answered with an error (5xx)",
            FailureMode.DIES: "had no answer (refused, reset or timed out)",
        }
        share = count / total * 100
        return (
            mode,
            f"{share:.2g} % of the requests {words[mode]}, while it completes {completed}",
        )
    if failed:
        return FailureMode.SLOWS, "it answers every request, but too late for the objective"
    return FailureMode.HOLDS, f"it held {format_rate(top.rate)}"
