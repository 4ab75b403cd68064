"""Regressions around the identification of the server, and in its place where events are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.capacity.regression.points import (
    CpuPoint,
    LoadPoint,
    cpu_of_stages,
    cpu_of_windows,
    points_of_stages,
    points_of_windows,
)
from advisor.capacity.regression.recipe import Estimate, Known, bound_name, error_capacity, latency_capacity
from advisor.capacity.regression.utilisation import ServiceDemand, Shape, fit_demand
from advisor.domain import CurvePoint, LatencyBound, Refusal, Slo, StageResult, Window

__all__ = [
    "CpuPoint",
    "Estimate",
    "Known",
    "LoadPoint",
    "Regression",
    "ServiceDemand",
    "Shape",
    "cpu_of_stages",
    "cpu_of_windows",
    "fit_demand",
    "points_of_stages",
    "points_of_windows",
    "regress_stages",
    "regress_windows",
]


@dataclass(frozen=True, slots=True)
class Regression:
    """The binding estimate of all bounds and of errors, and the points it rests on."""

    estimate: Estimate
    demand: ServiceDemand | None
    curve: tuple[CurvePoint, ...]
    top_rate: float
    requests: float
    seconds: float
    notes: tuple[str, ...] = ()


def regress_stages(
    stages: Sequence[StageResult],
    slo: Slo,
    *,
    cpu_limit_cores: float | None = None,
    workers: int | None = None,
    slots: int | None = None,
) -> Regression | Refusal:
    """Capacity from the stages of a run; their windows, where given, tell the CPU."""
    cpu = fit_demand(cpu_of_stages(stages))
    points = {bound: points_of_stages(stages, bound) for bound in slo.latency}
    return _regress(points, slo, cpu, Known(None, cpu_limit_cores, workers, slots))


def regress_windows(
    windows: Sequence[Window],
    slo: Slo,
    *,
    cpu_limit_cores: float | None = None,
    workers: int | None = None,
    slots: int | None = None,
) -> Regression | Refusal:
    """Capacity from production windows alone, without any run: usually a bound, or a refusal."""
    cpu = fit_demand(cpu_of_windows(windows))
    points = {bound: points_of_windows(windows, bound) for bound in slo.latency}
    return _regress(points, slo, cpu, Known(None, cpu_limit_cores, workers, slots, production=True))


def _regress(
    points: dict[LatencyBound, list[LoadPoint]], slo: Slo, cpu: ServiceDemand | str, known: Known
) -> Regression | Refusal:
    if not any(points.values()):
        return Refusal("no stage or window has enough answers to tell a latency quantile")
    notes: list[str] = []
    demand = cpu if isinstance(cpu, ServiceDemand) else None
    known = Known(demand, known.cpu_limit_cores, known.workers, known.slots, known.production)
    if known.impossible:
        notes.append(known.impossible)
    found = [latency_capacity(points[bound], bound, known) for bound in slo.latency if points[bound]]
    seen = max(points.values(), key=len)
    errors = error_capacity(seen, slo.error_ratio)
    if errors is not None:
        found.append(errors)
    estimates = [item for item in found if isinstance(item, Estimate)]
    binding = min(estimates, key=lambda estimate: estimate.rps, default=None)
    refusals = [item for item in found if isinstance(item, Refusal)]
    if isinstance(errors, Estimate) and binding is errors and _in_time_beyond(points, errors.rps):
        refusals = [refusal for refusal in refusals if refusal.infeasible]
    blocking = _blocking(refusals, binding)
    if blocking is not None or binding is None:
        return blocking or Refusal("the objective has no latency bound")
    return Regression(
        estimate=binding,
        demand=demand,
        curve=_curve(estimates, slo, binding.rps, binding.binding),
        top_rate=max(point.rate for point in seen),
        requests=sum(point.requests for point in seen),
        seconds=sum(point.seconds for point in seen),
        notes=tuple(notes),
    )


def _in_time_beyond(points: dict[LatencyBound, list[LoadPoint]], rps: float) -> bool:
    """Answers held every bound at a load above `rps` (req/s), where others failed: latency ends later."""
    return all(
        any(point.rate > rps and point.quantile <= bound.seconds for point in seen)
        for bound, seen in points.items()
    )


def _blocking(refusals: Sequence[Refusal], binding: Estimate | None) -> Refusal | None:
    """A bound without a number blocks the answer, unless another one binds at a load that it held."""
    for refusal in sorted(refusals, key=lambda refusal: not refusal.infeasible):
        if refusal.infeasible or binding is None:
            return refusal
        if refusal.at_least is None or refusal.at_least < binding.rps:
            return refusal
    return None


def _curve(estimates: Sequence[Estimate], slo: Slo, rps: float, binding: str) -> tuple[CurvePoint, ...]:
    """Fitted latency up to 1.1 times the estimate, where a hyperbola could be fitted to every bound.

    The estimate is the median of several methods: the curve is moved along the rates until it meets it.
    """
    fits = {
        bound: estimate.hyperbola
        for bound in slo.latency
        for estimate in estimates
        if estimate.hyperbola is not None and estimate.binding == bound_name(bound)
    }
    if not fits:
        return ()
    first = next(iter(fits.values()))
    crossing = min(fit.root(bound.seconds)[0] for bound, fit in fits.items())
    binds = any(bound_name(bound) == binding for bound in fits)
    share = rps / crossing if binds and crossing > 0 else 1.0
    points: list[CurvePoint] = []
    for rate in np.linspace(0.1, 1.1, 11) * rps:
        quantiles = {bound.quantile: fit.quantile(float(rate) / share) for bound, fit in fits.items()}
        mean = first.mean(float(rate) / share)
        known = {quantile: seconds for quantile, seconds in quantiles.items() if seconds is not None}
        if mean is not None and len(known) == len(quantiles):
            points.append(CurvePoint(float(rate), known, mean, float(rate) * mean, 0.0))
    return tuple(points)
