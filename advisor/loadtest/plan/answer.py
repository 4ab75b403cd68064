"""The answer of a capacity run, and what single stages show directly on the way to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from advisor.domain import Arrivals, Capacity, Refusal, Slo, StageResult
from advisor.loadtest.plan.common import ended_early, named
from advisor.loadtest.plan.connections import one_at_a_time
from advisor.loadtest.plan.estimate import Estimator
from advisor.loadtest.plan.probe import gave_way, infeasible, knee_seen, top_of_ramp, warm
from advisor.loadtest.protocol import Caps
from advisor.loadtest.verdict.direct import Direct, stage_evidence, stage_status
from advisor.units import format_rate


def conclude(history: Sequence[StageResult], slo: Slo, caps: Caps, estimate: Estimator) -> Capacity | Refusal:
    """Infeasible, at least so much, or what the full estimator says of the history without its warm-up."""
    reason = infeasible(history, slo)
    if reason is not None:
        return Refusal(reason, infeasible=True)
    reason = one_at_a_time(history)
    if reason is not None:
        return Refusal(reason)
    low, high = bracket(history, slo)
    if not steady(history) and not named(history, "ramp"):
        return Refusal("the run ended before any stage under load that could tell")
    if not knee_seen(history) and not high:
        limit = ceiling(history, slo, caps)
        held = f"the capacity is at least {format_rate(low)}: " if low else ""
        reached = min(limit, max(map(_top_rate, history)))
        held_there = any(result.stage.rate >= 0.99 * limit for result in steady(history))
        more = what_to_raise(limit, caps) if held_there else "give the run a larger budget"
        reason = f"{held}no knee was reached up to {format_rate(reached)}; {more}"
        return Refusal(reason, at_least=low or None)
    found = estimate(warm(history), slo)
    if isinstance(found, Refusal) and not found.at_least and low:
        return dataclasses.replace(found, at_least=low)
    return found


def bracket(history: Sequence[StageResult], slo: Slo) -> tuple[float, float]:
    """Highest rate that directly held the objective, lowest that directly broke it; 0 where none did."""
    sheds = any(r.log.failed.any() for r in history)
    states = [(r.stage.rate, stage_status(r, slo, sheds=sheds)) for r in steady(history)]
    high = min((value for value, status in states if status is Direct.VIOLATED), default=0.0)
    met = [value for value, status in states if status is Direct.MET and (not high or value < high)]
    return max(met, default=0.0), high


def ceiling(history: Sequence[StageResult], slo: Slo, caps: Caps) -> float:
    """The highest rate worth asking for: the cap, or less where the in-flight cap was met first (req/s)."""
    dropped = [r.stage.rate for r in steady(history) if r.dropped and not _too_slow(r, slo)]
    crowded = [top_of_ramp(r) for r in named(history, "ramp") if ended_early(r) and not gave_way(r)]
    return min([caps.rate, *(0.8 * value for value in (*dropped, *crowded))])


def _top_rate(result: StageResult) -> float:
    return top_of_ramp(result) if result.stage.arrivals is Arrivals.RAMP else result.stage.rate


def _too_slow(result: StageResult, slo: Slo) -> bool:
    """Overload, not the width of the server, filled the in-flight cap."""
    return any(e.status is Direct.VIOLATED for e in stage_evidence(result, slo)[:-1])


def what_to_raise(limit: float, caps: Caps) -> str:
    """What to raise in order to find a capacity that lies above the ceiling."""
    if limit < caps.rate:
        return f"raise the cap of {caps.in_flight} requests in flight to find the capacity"
    return f"raise the rate cap of {format_rate(caps.rate)} to find the capacity"


def steady(history: Sequence[StageResult]) -> list[StageResult]:
    """The stages at one rate."""
    return [r for r in history if r.stage.arrivals is Arrivals.POISSON and r.stage.rate > 0 and len(r.log)]
