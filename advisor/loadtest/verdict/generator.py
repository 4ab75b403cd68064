"""Did the generator do what it was asked? Each rule looks at one stage."""

from __future__ import annotations

import math

from advisor.domain import Arrivals, Slo, StageResult
from advisor.loadtest.verdict.rule import Objection, inconclusive, invalid
from advisor.units import format_seconds

BUSY_CORES = 0.85  # Locust warns at 0.90 of a core; delays grow before that
LATE = 0.005  # s; the reach of our generator
VERY_LATE = 0.010  # s; inference-perf's bound of a valid run
SIGMAS = 4.0
MOST_DROPPED = 0.001


def dispatch_delay(result: StageResult, slo: Slo) -> Objection | None:
    """Requests leave late: the 99th percentile against 5 ms and 10 ms, or 10 % and 25 % of the tightest
    bound.

    Latency counts from the intended start, so that a late request looks slow although the server is not.
    The idea of a bound on lateness is perf_analyzer's and inference-perf's; relative to the objective,
    because a wide one bears more.
    """
    late = result.dispatch_delay_p99
    if late is None:
        return None
    bound = slo.tightest if math.isfinite(slo.tightest) else 0.0
    said = f"the generator sent 1 % of the requests of '{result.stage.name}' over {format_seconds(late)} late"
    if late > max(VERY_LATE, 0.25 * bound):
        return invalid(f"{said}: give it a core of its own, or lower the rate")
    if late > max(LATE, 0.1 * bound):
        return inconclusive(f"{said}: give it a core of its own")
    return None


def offered_as_asked(result: StageResult) -> Objection | None:
    """The number of requests lies within 4 sigma of the Poisson number that was asked for (k6 issue 2837)."""
    stage = result.stage
    if stage.arrivals not in {Arrivals.POISSON, Arrivals.CONSTANT}:
        return None
    asked = stage.rate * (result.end - result.start)
    offered = len(result.log) + result.dropped
    if abs(offered - asked) <= SIGMAS * math.sqrt(asked) + 1:
        return None
    return invalid(
        f"stage '{stage.name}' asked for {asked:.0f} requests and the generator offered {offered}: "
        "it does not keep the rate"
    )


def own_cpu(result: StageResult) -> Objection | None:
    """The generator's own CPU stays below 0.85 of its core."""
    cores = result.generator_cpu
    if cores is None or cores <= BUSY_CORES:
        return None
    return invalid(
        f"the generator used {cores:.2f} of its one core in '{result.stage.name}' ({BUSY_CORES} may be): "
        "its own delays are in the latencies"
    )


def dropped(result: StageResult) -> Objection | None:
    """Arrivals beyond the in-flight cap were not sent: at most 0.1 %, or the load was not open."""
    total = len(result.log) + result.dropped
    if not total or result.dropped <= MOST_DROPPED * total:
        return None
    share = result.dropped / total * 100
    return invalid(
        f"{result.dropped} arrivals of '{result.stage.name}' ({share:.2g} %) met the in-flight cap and were "
        "not sent: raise the cap, or lower the rate"
    )


def generator_objections(result: StageResult, slo: Slo) -> list[Objection | None]:
    """All of them for one stage."""
    return [dispatch_delay(result, slo), offered_as_asked(result), own_cpu(result), dropped(result)]
