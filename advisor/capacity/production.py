"""The capacity from production traffic alone, without any load test: from events, else from windows. Pure.

Below the knee much of it is a bound: a number is given only up to twice the load that was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.capacity.conditions import engine_slots
from advisor.capacity.estimate import (
    WIDEST,
    Context,
    Estimated,
    from_identification,
    from_regression,
    known,
    too_far,
    too_wide,
    with_admission,
)
from advisor.capacity.identification import Identification, identify, solve
from advisor.capacity.identification.seen import spans_between_idle
from advisor.capacity.identification.timeline import from_log
from advisor.capacity.regression import (
    Regression,
    cpu_of_windows,
    fit_demand,
    points_of_windows,
    regress_windows,
)
from advisor.capacity.traffic import FEWEST
from advisor.domain import Arrivals, Capacity, Refusal, RequestLog, Slo, Stage, StageResult, Window
from advisor.loadtest.verdict.direct import Direct, share_bounds, stage_status

_WIDEST = 0.3  # ln units to either side: a wider interval of events alone is no capacity
_REQUESTS = 40_000  # virtual ones
_REQUESTS_A_SPAN = 1000
_MOST_SPANS = 40
_DISPERSION = 2.0  # of violations in windows: neighbours share a queue
_Z95 = 1.645  # one-sided


def estimate_production(
    windows: Sequence[Window],
    slo: Slo,
    *,
    log: RequestLog | None = None,
    cpu_limit_cores: float | None = None,
    measured_at: float | None = None,
    seed: int = 0,
) -> Estimated:
    """Capacity of one replica: `log` are its own requests on one clock, `windows` those of all replicas.

    Refused with a reason where neither tells; `at_least` is then the highest load that was seen to hold the
    objective.
    """
    alone = tuple(_of_one_replica(window) for window in windows)
    limit = cpu_limit_cores or _limit(alone)
    context = Context(limit, None, measured_at, alone, "production")
    slots = engine_slots(alone)
    regression = regress_windows(windows, slo, cpu_limit_cores=limit, slots=slots)
    demand = known(fit_demand(cpu_of_windows(windows)))
    found: Identification | Refusal | None = None
    if log is not None and len(log) >= FEWEST:
        found = identify(log, slo, seed=seed, cpu_quota_cores=limit, most_slots=slots)
    if isinstance(found, Identification):
        refused = too_far(found.rps, found.top_rate, None)
        if refused is not None:
            return Estimated(_with_held(refused, windows, slo, log))
        answer = from_identification(found, regression, demand, (), context)
        refused = too_wide(answer, _WIDEST, None)
        if refused is not None:
            return Estimated(_with_held(refused, windows, slo, log))
        answer = with_admission(_with_unseen_limit(answer, found, slo, seed), found.model, slo, seed)
        return Estimated(answer, found.model)
    if isinstance(regression, Regression):
        answer = from_regression(regression, found, (), context)
        refused = too_wide(answer, WIDEST, None)
        return Estimated(answer if refused is None else _with_held(refused, windows, slo, log))
    refused = regression if found is None else _both(found, regression, windows)
    return Estimated(_with_held(refused, windows, slo, log))


def _with_unseen_limit(capacity: Capacity, found: Identification, slo: Slo, seed: int) -> Capacity:
    """With what it would hold, did it turn away one request more at once than was ever seen."""
    if found.model.queue_limit is not None:
        return capacity
    bounded = solve(
        replace(found.model, queue_limit=found.most_present),
        slo,
        requests=_REQUESTS,
        seed=seed,
        near=found.rps,
    )
    if bounded is None or bounded.rate >= capacity.interval[0]:
        return capacity
    warning = (
        f"never more than {found.most_present} requests were present at once: a server that turns the next "
        f"one away would hold {bounded.rate:.4g} req/s, a load test would show it"
    )
    return replace(capacity, warnings=(*capacity.warnings, warning))


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A load of one replica that held the objective at 99 % confidence: req/s, and mean in flight."""

    rate: float
    in_flight: float


def highest_held(windows: Sequence[Window], slo: Slo, log: RequestLog | None) -> Held | None:
    """The highest such load in the windows or among the events; None without any."""
    found = [_held_in(windows, slo)]
    if log is not None and len(log):
        found.append(_held_by(log, slo))
    return max((held for held in found if held is not None), default=None)


def _with_held(refused: Refusal, windows: Sequence[Window], slo: Slo, log: RequestLog | None) -> Refusal:
    held = highest_held(windows, slo, log)
    return refused if held is None else replace(refused, at_least=held.rate, in_flight=held.in_flight)


def _held_by(log: RequestLog, slo: Slo) -> Held | None:
    """Spans of some thousand requests as if they were stages; a span's rate is its lower 95 % bound."""
    timeline = from_log(log)
    if len(timeline) < _REQUESTS_A_SPAN:
        return None
    parts = min(len(timeline) // _REQUESTS_A_SPAN, _MOST_SPANS)
    sheds = bool(log.failed.any())
    held = []
    for span in spans_between_idle(timeline, parts):
        rows = log.select((log.sent >= span.start) & (log.sent < span.end))
        seconds = span.end - span.start
        stage = Stage("production", Arrivals.POISSON, seconds, span.rate)
        if stage_status(StageResult(stage, span.start, span.end, rows), slo, sheds=sheds) is Direct.MET:
            rate = (len(rows) - _Z95 * float(np.sqrt(len(rows)))) / seconds
            held.append(Held(rate, rate * float(rows.service.mean())))
    return max(held, default=None)


def _held_in(windows: Sequence[Window], slo: Slo) -> Held | None:
    """The highest pooled load at which every bound is shown to hold."""
    held: set[Held] | None = None
    seconds = float(np.median([w.seconds * w.replicas for w in windows])) if windows else 0.0
    for bound in slo.latency:
        loads = set()
        points = points_of_windows(windows, bound)
        sheds = any(point.failed > 0 for point in points)
        for point in points:
            requests = point.answered / _DISPERSION
            _, most = share_bounds(point.violations / _DISPERSION, requests)
            # where requests fail at any load, few failures at this one may be luck
            failing = share_bounds(point.failed, point.requests)[1] if sheds else 0.0
            if most <= 1.0 - bound.quantile and failing <= slo.error_ratio:
                # windows of one pool were picked for their rate: some were only for a moment as busy
                rate = max(point.rate - _Z95 * float(np.sqrt(point.rate / seconds)), 0.0)
                loads.add(Held(rate, rate * point.mean))
        held = loads if held is None else held & loads
    return max(held, default=None) if held else None


def _both(found: Refusal, regression: Refusal, windows: Sequence[Window]) -> Refusal:
    if found.infeasible or not windows:
        return found
    return replace(regression, reason=f"{found.reason} The regression: {regression.reason}.")


def _limit(windows: Sequence[Window]) -> float | None:
    limits = [window.cpu_limit_cores for window in windows if window.cpu_limit_cores]
    return float(np.median(limits)) if limits else None


def _of_one_replica(window: Window) -> Window:
    """The resources that one of its replicas used on average."""

    def share(value: float | None) -> float | None:
        return None if value is None else value / window.replicas

    return replace(
        window,
        in_flight=share(window.in_flight),
        queue_depth=share(window.queue_depth),
        cpu_cores=share(window.cpu_cores),
        cpu_limit_cores=share(window.cpu_limit_cores),
        cpu_throttled_seconds=share(window.cpu_throttled_seconds),
        memory_bytes=share(window.memory_bytes),
        memory_limit_bytes=share(window.memory_limit_bytes),
    )
