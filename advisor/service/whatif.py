"""What is asked beside the configuration, and the capacity for another objective than the measured. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from advisor.domain import Capacity, CurvePoint, LatencyBound, Limit, Refusal, Slo
from advisor.outputs.words import slo_words
from advisor.scaling.policy import ScalingPolicy
from advisor.units import format_seconds, quantile_name


@dataclass(frozen=True, slots=True)
class Question:
    """What a person asks; None leaves what the configuration and production say.

    demand_rps: req/s of the whole service; replicas: a count to judge; startup_seconds: from the decision to
    a replica that serves; cost_per_replica_hour: in any currency; failure_tolerance: replicas that may fail.
    """

    demand_rps: float | None = None
    slo: Slo | None = None
    replicas: int | None = None
    startup_seconds: float | None = None
    cost_per_replica_hour: float | None = None
    failure_tolerance: int | None = None

    def amended(self, policy: ScalingPolicy) -> ScalingPolicy:
        """The policy with what was asked in place of its own."""
        asked = {
            name: value
            for name in ("startup_seconds", "cost_per_replica_hour", "failure_tolerance")
            if (value := getattr(self, name)) is not None
        }
        return replace(policy, **asked)


AS_CONFIGURED = Question()


def moved(capacity: Capacity, rps: float, point: CurvePoint | None, measured: Slo, asked: Slo) -> Capacity:
    """The measured capacity at another rate: its interval keeps its relative width, CPU follows the load."""
    share = rps / capacity.rps
    low, high = capacity.interval
    idle = capacity.cpu_idle_cores or 0.0
    warning = (
        f"computed for {slo_words(asked)} from the server found under {slo_words(measured)}; "
        "a run with this objective would confirm it"
    )
    return replace(
        capacity,
        rps=rps,
        interval=(low * share, high * share),
        in_flight=point.in_flight if point is not None else None,
        cpu_cores=None if capacity.cpu_cores is None else idle + (capacity.cpu_cores - idle) * share,
        undisturbed_rps=None,
        alternatives={},
        admission=None,
        warnings=(warning, *capacity.warnings),
    )


def from_curve(capacity: Capacity, measured: Slo, asked: Slo) -> Capacity | Refusal:
    """From the stored curve: where the first bound is reached, logarithmic between two points.

    Refused where the curve does not tell: a quantile it lacks, or an objective that holds beyond its end.
    """
    curve = sorted(capacity.curve, key=lambda point: point.rate)
    streamed = (*asked.ttft, *asked.itl)
    known = _implied(measured.ttft, asked.ttft) and _implied(measured.itl, asked.itl)
    if len(curve) < 2 or not known:
        return Refusal(f"the stored fit cannot answer {slo_words(asked)}: measure with that objective")
    rates = [capacity.rps] if streamed else []  # the curve has no tokens; up to here their bounds held
    for bound in asked.latency:
        rate = _crossing(curve, bound)
        if rate is None:
            return Refusal(f"the stored fit does not reach {slo_words(asked)}: measure with that objective")
        if rate <= 0:
            return _infeasible(curve[0], bound)
        rates.append(rate)
    failing = next((point.rate for point in curve if point.error_ratio > asked.error_ratio), None)
    if failing is not None:
        rates.append(failing)
    if not rates:
        return Refusal("an objective needs a latency bound")
    rps = min(rates)
    found = moved(capacity, rps, min(curve, key=lambda p: abs(p.rate - rps)), measured, asked)
    return replace(found, limited_by=Limit.ERRORS) if failing is not None and rps == failing else found


def _implied(held: tuple[LatencyBound, ...], asked: tuple[LatencyBound, ...]) -> bool:
    """Whether bounds that held imply those asked for."""
    return all(
        any(known.quantile >= bound.quantile and known.seconds <= bound.seconds for known in held)
        for bound in asked
    )


def _infeasible(lowest: CurvePoint, bound: LatencyBound) -> Refusal:
    name = quantile_name(bound.quantile)
    return Refusal(
        f"almost without load {name} is already {format_seconds(lowest.quantiles[bound.quantile])}, above "
        f"{format_seconds(bound.seconds)}: replicas cannot fix service time",
        infeasible=True,
    )


def _crossing(curve: list[CurvePoint], bound: LatencyBound) -> float | None:
    """The rate (req/s) at which the bound is reached; 0 below the curve's start, None beyond its end."""
    if any(bound.quantile not in point.quantiles for point in curve):
        return None
    values = [point.quantiles[bound.quantile] for point in curve]
    if values[0] > bound.seconds:
        return 0.0
    for (left, a), (right, b) in zip(
        zip(curve, values, strict=True), zip(curve[1:], values[1:], strict=True), strict=False
    ):
        if b > bound.seconds:
            if not math.isfinite(b) or a <= 0:
                return left.rate
            part = math.log(bound.seconds / a) / math.log(b / a)
            return left.rate * math.exp(part * math.log(right.rate / left.rate))
    return None
