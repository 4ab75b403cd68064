"""Which signal the autoscaler should hold: each one's elasticity to load, near the target, decides.

Elasticity is d ln signal / d ln load. ⌈signal/target⌉ has the loop gain 1 − elasticity: near 1 one step is
right, near 0 the signal says nothing of load, above 2 the loop overshoots.
"""

from __future__ import annotations

import numpy as np

from advisor.domain import Capacity, CurvePoint, Limit, MetricType, Signal
from advisor.scaling.policy import ScalingPolicy

REQUEST_RATE = "inference_requests_per_second"
IN_FLIGHT = "inference_in_flight"
CPU = "cpu"
QUEUE_DEPTH = "inference_queue_depth"

EXPLAINS = 0.75  # CPU's least elasticity beside better signals
USABLE = 0.4  # and its least where there is none
STABLE = 2.0  # in flight: above it the loop overshoots
_SECOND_AT = 0.8  # of the capacity: where the second metric takes over
_BUSY = 0.5  # of the cores: below it something else fills first
_FEWEST_PERCENT = 10  # the HPA truncates to whole percents: below, one step is its whole tolerance
_REACHABLE = 0.95  # of the limit
_CPU_BOUND = (Limit.CPU, Limit.SINGLE_THREAD, Limit.QUOTA)


def request_rate(rps: float, why: str) -> Signal:
    """Requests/s a replica: elasticity 1 by definition, seen before the server sees them."""
    return Signal(REQUEST_RATE, MetricType.EXTERNAL, rps, "req/s per replica", why, elasticity=1.0)


def cpu(capacity: Capacity, policy: ScalingPolicy, rps: float) -> Signal:
    """The model container's CPU at `rps`: percent of its request where that is known, else cores."""

    def declined(why: str, target: float | None = None, elasticity: float | None = None) -> Signal:
        return Signal(CPU, MetricType.CONTAINER_RESOURCE, target, unit, why, False, elasticity)

    request, limit = policy.cpu_request_cores, policy.cpu_limit_cores
    unit = "% of request" if request is not None else "cores per replica"
    if capacity.cpu_cores is None or capacity.cpu_idle_cores is None:
        return declined("the model's CPU was not seen to follow the load, so no CPU value stands for one")
    cores = capacity.cpu_idle_cores + (capacity.cpu_cores - capacity.cpu_idle_cores) * rps / capacity.rps
    elasticity = 1.0 - capacity.cpu_idle_cores / cores if cores > 0 else 0.0
    target = 100.0 * cores / request if request is not None else cores
    least = EXPLAINS if policy.metrics_adapter else USABLE
    if not _fills_first(capacity, policy):
        have = limit or request
        share = f" ({capacity.cpu_cores / have:.0%} of {have:.3g})" if have else ""
        return declined(
            f"the model uses {capacity.cpu_cores:.2g} cores{share} when the objective is reached: "
            f"something else fills first ({capacity.limited_by})",
            target,
            elasticity,
        )
    if elasticity < least:
        return declined(
            f"CPU rises {elasticity:.0%} as fast as load; {least:.0%} is needed for it to stand for load",
            target,
            elasticity,
        )
    if request is not None and target < _FEWEST_PERCENT:
        return declined(
            f"{target:.2g} % of the request is too coarse: the HPA counts whole percents", target, elasticity
        )
    if limit is not None and cores > _REACHABLE * limit:
        return declined(
            f"{cores:.3g} cores can hardly be reached under the limit of {limit:.3g}", target, elasticity
        )
    why = (
        f"at {rps:.4g} req/s the model uses {cores:.3g} cores, and CPU rises {elasticity:.0%} as fast as load"
    )
    if request is not None:
        why += (
            f"; {target:.0f} % of its request of {request:.3g} cores (the HPA counts in requests, not limits)"
        )
    return Signal(CPU, MetricType.CONTAINER_RESOURCE, target, unit, why, elasticity=elasticity)


def _fills_first(capacity: Capacity, policy: ScalingPolicy) -> bool:
    """Whether CPU is what runs out: else a slower dependency fills the server while its CPU falls."""
    if capacity.limited_by in _CPU_BOUND:
        return True
    have = policy.cpu_limit_cores or policy.cpu_request_cores
    return have is not None and capacity.cpu_cores is not None and capacity.cpu_cores >= _BUSY * have


def in_flight(capacity: Capacity, rps: float) -> Signal:
    """Mean requests in flight a replica, from its time integral: it corrects itself when the server slows.

    Its target stands for 80 % of the capacity, lowered until its elasticity is 2 at most, never below `rps`.
    """
    unit = "requests per replica"
    curve = [point for point in capacity.curve if point.in_flight > 0 and point.rate > 0]
    if len(curve) < 3:
        return Signal(
            IN_FLIGHT,
            MetricType.EXTERNAL,
            capacity.in_flight,
            unit,
            "no curve of requests in flight is known",
            False,
        )
    for rate in np.linspace(max(_SECOND_AT * capacity.rps, rps), rps, 9):
        elasticity = in_flight_elasticity(curve, float(rate))
        held = in_flight_at(curve, float(rate))
        if elasticity <= STABLE:
            return Signal(
                IN_FLIGHT,
                MetricType.EXTERNAL,
                held,
                unit,
                f"{held:.3g} are in flight at {rate:.4g} req/s ({rate / capacity.rps:.0%} of the capacity), "
                f"rising {elasticity:.2g} times as fast as load; its time integral, never a scraped gauge",
                elasticity=elasticity,
            )
    return Signal(
        IN_FLIGHT,
        MetricType.EXTERNAL,
        held,
        unit,
        f"it rises {elasticity:.2g} times as fast as load at {rps:.4g} req/s; above "
        f"{STABLE:.0f} the loop overshoots",
        False,
        elasticity,
    )


def queue_depth(capacity: Capacity, rps: float) -> Signal | None:
    """Waiting requests, always declined; None where no curve tells how many."""
    curve = [point for point in capacity.curve if point.in_flight > 0 and point.rate > 0]
    if len(curve) < 3:
        return None
    alone = min(point.mean for point in curve)

    def waiting(rate: float) -> float:
        return max(in_flight_at(curve, rate) - rate * alone, 0.0)

    low, high = waiting(0.95 * rps), waiting(1.05 * rps)
    depth = waiting(rps)
    rises = (
        f", rising {np.log(high / low) / np.log(1.05 / 0.95):.2g} times as fast as load" if low > 1e-3 else ""
    )
    return Signal(
        QUEUE_DEPTH,
        MetricType.EXTERNAL,
        depth,
        "requests per replica",
        f"about {depth:.2g} requests wait at {rps:.4g} req/s{rises}: a queue is empty until it is too late",
        False,
    )


def in_flight_at(curve: list[CurvePoint], rate: float) -> float:
    """Requests in flight at `rate`, log-linear between the curve's points."""
    rates, held = _logs(curve)
    return float(np.exp(np.interp(np.log(rate), rates, held)))


def in_flight_elasticity(curve: list[CurvePoint], rate: float) -> float:
    """Relative growth of requests in flight over that of the rate, within ±10 % of `rate`."""
    rates, held = _logs(curve)
    low, high = np.log(rate * 0.9), np.log(rate * 1.1)
    low, high = max(low, rates[0]), min(high, rates[-1])
    if high <= low:
        low, high = rates[-2], rates[-1]
    rise = np.interp(high, rates, held) - np.interp(low, rates, held)
    return float(rise / (high - low))


def _logs(curve: list[CurvePoint]) -> tuple[np.ndarray, np.ndarray]:
    points = sorted(curve, key=lambda point: point.rate)
    return np.log([point.rate for point in points]), np.log([point.in_flight for point in points])
