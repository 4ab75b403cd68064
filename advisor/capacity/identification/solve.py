"""What the identified server answers at a rate, and the highest rate at which it holds the objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from advisor.capacity.identification.model import ServerModel
from advisor.capacity.identification.simulation import LOST
from advisor.domain import CurvePoint, Floats, LatencyBound, Slo
from advisor.units import format_seconds, quantile_name

_COLLAPSING = 4  # times the virtual requests for a server that may get stuck in overload
_WARM_UP = 0.03  # share of the virtual requests that fill the empty server and do not count


@dataclass(frozen=True, slots=True)
class Traffic:
    """Poisson arrivals at 1 req/s and the draws of their works: the same for every rate and every server.

    Common random numbers: what differs between two rates is the server's doing. The uniforms are
    stratified, so the works drawn have the mean of the sample.
    """

    arrival: Floats
    uniform: Floats
    seed: int

    @classmethod
    def poisson(cls, requests: int, seed: int) -> Traffic:
        """`requests` arrivals, the last at exactly `requests` s."""
        rng = np.random.default_rng(seed)
        arrival = np.cumsum(rng.exponential(1.0, requests))
        arrival *= requests / arrival[-1]
        uniform = (rng.permutation(requests) + rng.random(requests)) / requests
        return cls(arrival, uniform, seed)


def respond(model: ServerModel, rate: float, quantiles: tuple[float, ...], traffic: Traffic) -> CurvePoint:
    """Latency quantiles and mean (s), mean number in flight and share of failed requests at `rate`
    (req/s).
    """
    arrival = traffic.arrival / rate
    end = model.completions(arrival, traffic.uniform, seed=traffic.seed)
    first = int(_WARM_UP * arrival.size)
    latency = (end - arrival)[first:]
    served = latency[~np.isnan(latency)]
    rejected = 1.0 - served.size / latency.size
    if not served.size:
        return CurvePoint(rate, dict.fromkeys(quantiles, float("inf")), float("inf"), float("inf"), 1.0)
    served[served >= LOST] = np.inf
    mean = float(served.mean())
    values = np.quantile(served, quantiles, method="inverted_cdf") if quantiles else np.zeros(0)
    return CurvePoint(
        rate=rate,
        quantiles={q: float(value) for q, value in zip(quantiles, values, strict=True)},
        mean=mean,
        in_flight=rate * (1.0 - rejected) * mean,
        error_ratio=1.0 - (1.0 - rejected) * (1.0 - model.error_share),
    )


def excess(point: CurvePoint, slo: Slo) -> tuple[float, str]:
    """Ln of the worst of observed/allowed, at most 0 where the objective holds, and which bound that is."""
    worst, name = -np.inf, "error_ratio"
    for bound in slo.latency:
        over = np.log(max(point.quantiles[bound.quantile], 1e-9) / bound.seconds)
        if over > worst:
            worst, name = over, quantile_name(bound.quantile)
    errors = np.log(max(point.error_ratio, 1e-9) / max(slo.error_ratio, 1e-6))
    if errors > worst:
        worst, name = errors, "error_ratio"
    return float(worst), name


@dataclass(frozen=True, slots=True)
class Solution:
    """The highest rate (req/s) that holds the objective, the server there, and the bound that ends it."""

    rate: float
    point: CurvePoint
    binding: str


def solve(
    model: ServerModel, slo: Slo, *, requests: int = 150_000, seed: int = 0, near: float | None = None
) -> Solution | None:
    """The capacity of a server with a saturation; None when the objective is missed even without load.

    A coarse search with 12 000 virtual requests, then a narrow one with `requests`, up to five times as many
    for rare events. `near` (req/s) is a
    first guess.
    """
    quantiles = tuple(bound.quantile for bound in slo.latency)
    allowed = slo.error_ratio if model.queue_limit is not None else 0.0  # what is turned away is no work
    ceiling = model.saturation * (1.0 + allowed)

    def over(traffic: Traffic) -> Callable[[float], float]:
        return lambda rate: excess(respond(model, rate, quantiles, traffic), slo)[0]

    more = _more_for_rare(model, slo)
    coarse = over(Traffic.poisson(min(requests, 12_000) * more, seed))
    low, high = (0.4 * ceiling, ceiling) if near is None else (0.85 * near, 1.15 * near)
    rate = _root(coarse, low, min(high, ceiling), ceiling, tolerance=0.004)
    if rate is None:
        return None
    narrow = requests > 12_000
    # a server that may get stuck in overload does so now and then: only long runs see how often
    requests *= more if model.best_in_flight is None else max(more, _COLLAPSING)
    traffic = Traffic.poisson(requests, seed + 1)
    if narrow:
        fine = _root(over(traffic), 0.98 * rate, min(1.02 * rate, ceiling), ceiling, tolerance=0.002)
        rate = fine if fine is not None else rate
    point = respond(model, rate, quantiles, traffic)
    return Solution(rate, point, excess(point, slo)[1])


def _more_for_rare(model: ServerModel, slo: Slo) -> int:
    """Times the virtual requests, 1 to 5, so that also the rarest event of the objective is counted often."""
    rare = [1.0 - bound.quantile for bound in slo.latency]
    if model.queue_limit is not None:
        rare.append(slo.error_ratio)
    return int(np.clip(np.ceil(0.02 / max(min(rare, default=1.0), 1e-4)), 1, 5))


def _root(
    over: Callable[[float], float], low: float, high: float, ceiling: float, tolerance: float
) -> float | None:
    """Where `over` changes sign, to `tolerance` in ln rate: bisection, then a secant. None: above 0
    everywhere.
    """
    at_low = over(low)
    at_high = np.inf
    step = 1.6 if high / low > 1.5 else 1.06
    while at_low > 0:
        high, at_high = low, at_low
        low /= step
        step = min(step * step, 4.0)
        if low < 1e-3 * ceiling:
            return None
        at_low = over(low)
    if np.isinf(at_high):
        step = 1.3 if high / low > 1.5 else 1.04
        at_high = over(high)
        while at_high <= 0:
            if high >= ceiling:
                return ceiling
            low, at_low = high, at_high
            high = min(high * step, ceiling)
            step *= step
            at_high = over(high)
    while np.log(high / low) > tolerance:
        share = 0.5
        if at_high - at_low < 1.0:
            share = float(np.clip(-at_low / (at_high - at_low), 0.1, 0.9))
        middle = low * (high / low) ** share
        value = over(middle)
        if value > 0:
            high, at_high = middle, value
        else:
            low, at_low = middle, value
    if at_high - at_low < 1.0:
        return float(low * (high / low) ** (-at_low / (at_high - at_low)))
    return float(np.sqrt(low * high))


def explain_infeasible(model: ServerModel, slo: Slo, seed: int = 0) -> str:
    """Why no rate holds the objective, with the numbers of the nearly idle server."""
    quantiles = tuple(bound.quantile for bound in slo.latency)
    base = model.saturation if np.isfinite(model.saturation) else 1.0 / float(model.work.mean())
    idle = respond(model, 1e-3 * base, quantiles, Traffic.poisson(12_000, seed))
    missed = [_missed(bound, idle) for bound in slo.latency if idle.quantiles[bound.quantile] > bound.seconds]
    if idle.error_ratio > slo.error_ratio:
        missed.append(f"{idle.error_ratio:.2%} of the answers are errors, {slo.error_ratio:.2%} are allowed")
    reason = " and ".join(missed) or "the objective is missed at every rate"
    return f"Even without load, {reason}: replicas cannot fix service time."


def _missed(bound: LatencyBound, idle: CurvePoint) -> str:
    return (
        f"{quantile_name(bound.quantile)} is {format_seconds(idle.quantiles[bound.quantile])}, "
        f"above the objective of {format_seconds(bound.seconds)}"
    )
