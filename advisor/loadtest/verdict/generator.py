"""Did the generator do what it was asked? Each rule looks at one stage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from advisor.domain import Arrivals, Slo, StageResult
from advisor.loadtest.verdict.rule import Objection, inconclusive, invalid, noted
from advisor.units import format_seconds, quantile_name

BUSY_CORES = 0.85  # Locust warns at 0.90 of a core; delays grow before that
_IN_TIME = 0.002  # s; the least that counts below
VERY_LATE = 0.010  # s; inference-perf's bound of a valid run
SIGMAS = 4.0
MOST_DROPPED = 0.001


def dispatch_delay(result: StageResult, slo: Slo) -> Objection | None:
    """How far the generator's own lateness moves the latency quantiles of the objective.

    Latency counts from the intended start, so that a late request looks slow although the server is not;
    from the actual start it would look fast although a user waited. Where the two quantiles differ by 5 %
    of the bound (2 ms at least) the stage says little, by 25 % (10 ms) nothing. The idea of a bound on
    lateness is perf_analyzer's and inference-perf's; here it is measured where it matters. Where the
    generator was in time, a full listen queue stood between.
    """
    late = result.dispatch_delay_p99
    if late is not None and late <= _IN_TIME:
        return None
    log = result.log.select(result.log.ok)
    found = None
    for bound in slo.latency:
        if not len(log):
            return None
        moved = float(np.quantile(log.latency, bound.quantile) - np.quantile(log.service, bound.quantile))
        said = (
            f"the generator's own delay adds {format_seconds(max(moved, 1e-6))} to the "
            f"{quantile_name(bound.quantile)} of '{result.stage.name}'"
        )
        if moved > max(0.010, 0.25 * bound.seconds):
            return invalid(f"{said}: give it a core of its own, or lower the rate")
        if moved > max(_IN_TIME, 0.05 * bound.seconds):
            found = inconclusive(f"{said}: give it a core of its own")
    return found or _often_late(result, slo)


def _often_late(result: StageResult, slo: Slo) -> Objection | None:
    """Lateness that the quantiles do not show yet, but that bends the arrivals."""
    late = result.dispatch_delay_p99
    bound = slo.tightest if math.isfinite(slo.tightest) else 0.0
    if late is None or late <= max(VERY_LATE, 0.5 * bound):
        return None
    return inconclusive(
        f"the generator sent 1 % of the requests of '{result.stage.name}' over {format_seconds(late)} late: "
        "give it a core of its own"
    )


def offered_as_asked(result: StageResult) -> Objection | None:
    """The number of requests lies within 4 sigma of the number that was asked for (k6 issue 2837).

    Of a renewal process with gaps of coefficient of variation cv, sigma² is cv² times the mean number.
    """
    stage = result.stage
    if not stage.arrivals.steady:
        return None
    asked = stage.rate * (result.end - result.start)
    offered = len(result.log) + result.dropped
    if abs(offered - asked) <= SIGMAS * stage.cv * math.sqrt(asked) + 1:
        return None
    return invalid(
        f"stage '{stage.name}' asked for {asked:.0f} requests and the generator offered {offered}: "
        "it does not keep the rate"
    )


def closed_loop(history: Sequence[StageResult]) -> Objection | None:
    """Users wait for their answers: a server that stalls is asked less meanwhile (coordinated omission)."""
    if not any(result.stage.arrivals is Arrivals.USERS for result in history):
        return None
    return noted(
        "the users are a closed loop: while the server stalls they ask less, and its latencies look better "
        "than they are; a capacity needs arrivals that do not wait"
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
