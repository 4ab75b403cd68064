"""The regressions put together: the highest rate that holds an objective, with a calibrated interval.

Constants were found on simulated servers (leave one family out); `docs/methods.md` tells how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from advisor.capacity.regression import knee, shape
from advisor.capacity.regression.hyperbola import Hyperbola, fit_hyperbola
from advisor.capacity.regression.points import LoadPoint
from advisor.capacity.regression.utilisation import ServiceDemand, Shape
from advisor.domain import LatencyBound, Refusal
from advisor.units import format_seconds, quantile_name

FARTHEST = 2.0  # times the top load: beyond it no point is given
_WIDEST_SPREAD = 0.3
_LEAST_UTILISATION = 0.25
_LEAST_PRODUCTION_REQUESTS = 3000
_TOLERATED = 0.05  # a CPU ceiling that far below a served rate contradicts the data
# 90 % multipliers of s, calibrated by leaving one family out: few points of a run, many windows of production
_MULTIPLIER_RUN, _MULTIPLIER_PRODUCTION = 2.8, 1.6
# 90th percentile of the relative error against the requests in the two stages at the knee
_KNEE_REQUESTS = np.log([200.0, 700.0, 1700.0, 5500.0])
_KNEE_ERROR = np.array([0.35, 0.19, 0.11, 0.06])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate (req/s) with its 90 % interval and what each method says by itself.

    `bracketed`: a stage above it was seen to fail. `spread`: SD of the methods' logarithms.
    """

    rps: float
    interval: tuple[float, float]
    bracketed: bool
    spread: float
    methods: dict[str, float]
    binding: str
    checks: tuple[str, ...] = ()
    in_flight: float | None = None
    hyperbola: Hyperbola | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside latency: the CPU's law and limit, workers or slots."""

    demand: ServiceDemand | None = None
    cpu_limit_cores: float | None = None
    workers: int | None = None
    slots: int | None = None
    production: bool = False

    @property
    def ceiling(self) -> float | None:
        """The CPU's own ceiling (req/s); None where unknown, or where it was passed in fact."""
        if self.demand is None or self.cpu_limit_cores is None:
            return None
        ceiling = self.demand.ceiling(self.cpu_limit_cores)
        return ceiling if ceiling is not None and self._possible(ceiling, self.demand) else None

    @property
    def impossible(self) -> str | None:
        """Why the CPU's ceiling is not used, when the data contradict it."""
        if self.demand is None or self.cpu_limit_cores is None:
            return None
        ceiling = self.demand.ceiling(self.cpu_limit_cores)
        if ceiling is None or self._possible(ceiling, self.demand):
            return None
        return (
            f"the CPU limit of {self.cpu_limit_cores:.3g} cores would end at {ceiling:.3g} req/s, but "
            f"{self.demand.top_rate:.3g} req/s were served with {self.demand.top_cores:.3g} cores: "
            "the limit is not what holds, it is left out"
        )

    @staticmethod
    def _possible(ceiling: float, demand: ServiceDemand) -> bool:
        return ceiling > (1.0 - max(_TOLERATED, 2.0 * demand.error)) * demand.top_rate


def latency_capacity(
    points: Sequence[LoadPoint], bound: LatencyBound, known: Known | None = None
) -> Estimate | Refusal:
    """The rate at which the quantile of `bound` reaches its seconds, from points sorted by rate."""
    known = known or Known()
    hopeless = _unloaded_too_slow(points, bound)
    if hopeless is not None:
        return hopeless
    steady = _below_first_unstable(points)
    loaded = [point for point in steady if point.rate > 0]
    bracket = knee.isotonic_bracket(points, bound.seconds)
    top = max((point.rate for point in loaded), default=0.0)
    fit = fit_hyperbola(steady, known.ceiling, known.workers)
    methods: dict[str, float] = {}
    sd = 0.0
    if isinstance(fit, Hyperbola):
        methods["hyperbola"], sd = fit.root(bound.seconds)
    for degree in (1, 2):
        root = shape.inverse_root(steady, bound.seconds, degree)
        if root is not None:
            methods[f"inverse_{degree}"] = root
    held = shape.in_flight_root(steady, bound.seconds)
    if held is not None:
        methods["in_flight"] = held[1]
    methods = {name: value for name, value in methods.items() if value > 0}
    hyperbola = fit if isinstance(fit, Hyperbola) else None
    if bracket is not None:
        return replace(
            _bracketed(points, bound, bracket, methods), in_flight=held and held[0], hyperbola=hyperbola
        )
    if isinstance(fit, str):
        return Refusal(fit, at_least=_held(loaded, bound))
    if "hyperbola" not in methods:
        return Refusal(
            f"{bound_name(bound)} is about {format_seconds(bound.seconds)} already without load, too close "
            "to tell at which load it is reached: test longer, or allow more",
            at_least=_held(loaded, bound),
        )
    estimate = _extrapolated(methods, sd, top, known, bound)
    refusal = _too_far(estimate, top, known, loaded)
    if refusal is not None:
        return Refusal(refusal, at_least=_held(loaded, bound))
    return replace(estimate, in_flight=held and held[0], hyperbola=hyperbola)


def _unloaded_too_slow(points: Sequence[LoadPoint], bound: LatencyBound) -> Refusal | None:
    """Where one request at a time is too slow already: replicas cannot fix service time."""
    if not points or points[0].rate > 0:
        return None
    idle = points[0]
    if not _exceeds(idle.violations, idle.answered, 1.0 - bound.quantile):
        return None
    return Refusal(
        f"{bound_name(bound)} is {format_seconds(idle.quantile)} with one request at a time, the objective "
        f"is {format_seconds(bound.seconds)}: replicas cannot fix service time",
        infeasible=True,
    )


def _below_first_unstable(points: Sequence[LoadPoint]) -> list[LoadPoint]:
    kept: list[LoadPoint] = []
    for point in points:
        if not point.stable:
            break
        kept.append(point)
    return kept


def _held(points: Sequence[LoadPoint], bound: LatencyBound) -> float | None:
    return max((point.rate for point in points if point.quantile <= bound.seconds), default=None)


def _bracketed(
    points: Sequence[LoadPoint], bound: LatencyBound, bracket: knee.Bracket, methods: dict[str, float]
) -> Estimate:
    """The median of what isotonic regression, the GLM and the hyperbola say, inside the bracket."""
    allowed = 1.0 - bound.quantile
    near = [point for point in points if 0.5 * bracket.low <= point.rate <= 2.0 * bracket.high]
    glm = knee.fit_violations(
        [point.rate for point in near],
        [min(point.violations, point.answered) for point in near],
        [point.answered for point in near],
        allowed,
    )
    inside = {"isotonic": bracket.crossing}
    if glm is not None:
        inside["glm"] = float(np.clip(glm.rate, bracket.low, bracket.high))
    if "hyperbola" in methods:
        inside["hyperbola"] = float(np.clip(methods["hyperbola"], bracket.low, bracket.high))
    logs = np.log(list(inside.values()))
    rate = float(np.exp(np.median(logs)))
    spread = float(logs.std())
    by_count = float(np.interp(np.log(bracket.requests), _KNEE_REQUESTS, _KNEE_ERROR))
    half = max(by_count, 1.645 * glm.error if glm is not None else 0.0, 1.645 * spread)
    half = min(half, 1.0)
    check = (
        f"{bracket.low:.3g} req/s held {bound_name(bound)} ≤ {format_seconds(bound.seconds)}, "
        f"{bracket.high:.3g} req/s did not, "
        f"{bracket.requests:.0f} requests in both"
    )
    return Estimate(
        rate,
        (rate * np.exp(-half), rate * np.exp(half)),
        True,
        spread,
        {**methods, **inside},
        bound_name(bound),
        (check,),
    )


def _extrapolated(
    methods: dict[str, float], sd: float, top: float, known: Known, bound: LatencyBound
) -> Estimate:
    """Below the knee utilisation carries the information; batching and contention have rules of their own."""
    rate = methods["hyperbola"]
    curved = known.demand.shape if known.demand is not None else Shape.LINEAR
    others = [methods[name] for name in ("inverse_1", "inverse_2", "in_flight") if name in methods]
    if curved is Shape.CONCAVE and others:
        rate = float(np.exp(np.mean(np.log(others))))
    elif curved is Shape.CONVEX and "in_flight" in methods:
        rate = min(rate, float(np.sqrt(rate * methods["in_flight"])))
    compared = [methods[name] for name in ("hyperbola", "inverse_2", "in_flight") if name in methods]
    spread = float(np.std(np.log(compared)))
    s = np.sqrt(sd**2 + (0.2 * np.log(rate / top)) ** 2 + (0.15 * spread) ** 2 + 0.08**2)
    half = float((_MULTIPLIER_PRODUCTION if known.production else _MULTIPLIER_RUN) * s)
    return Estimate(
        rate, (rate * np.exp(-half), rate * np.exp(half)), False, spread, methods, bound_name(bound),
        (f"extrapolated to {rate / top:.2f} times the top load of {top:.3g} req/s",),
    )  # fmt: skip


def _too_far(estimate: Estimate, top: float, known: Known, loaded: Sequence[LoadPoint]) -> str | None:
    seen = f"only loads up to {top:.3g} req/s were seen"
    if estimate.rps > FARTHEST * top:
        return (
            f"{seen}; the fit would end at {estimate.rps:.3g} req/s, beyond {FARTHEST:.3g} times that: "
            "test with more load"
        )
    if estimate.spread >= _WIDEST_SPREAD:
        said = ", ".join(f"{name} {value:.3g}" for name, value in sorted(estimate.methods.items()))
        return f"{seen}, below the knee, and the methods disagree ({said} req/s): test with more load"
    if known.demand is not None and known.demand.shape is not Shape.LINEAR and known.slots is None:
        return (
            f"{seen}, below the knee, and the CPU of one request changes with load ({known.demand.shape}): "
            "test with more load, or let the engine tell its slots"
        )
    if known.production:
        if known.ceiling is not None and top < _LEAST_UTILISATION * known.ceiling:
            return f"{seen}, {top / known.ceiling:.0%} of the CPU's ceiling: too little to tell"
        requests = sum(point.requests for point in loaded)
        if requests < _LEAST_PRODUCTION_REQUESTS:
            return f"{requests:.0f} requests are too few to tell; {_LEAST_PRODUCTION_REQUESTS} are needed"
    return None


def error_capacity(points: Sequence[LoadPoint], allowed: float) -> Estimate | Refusal | None:
    """The rate at which the share of failed requests reaches `allowed`; None where no load exceeds it.

    A refusal where even the lowest load fails too often: load is not the cause.
    """
    loaded = [point for point in points if point.requests > 0]
    failing = [point for point in loaded if _exceeds(point.failed, point.requests, allowed)]
    if not failing:
        return None
    high = min(point.rate for point in failing)
    clean = [point.rate for point in loaded if point.rate < high]
    share = failing[0].failed / failing[0].requests
    if not clean or max(clean) <= 0:
        return Refusal(
            f"{share:.2%} of the requests fail at {high:.3g} req/s, the lowest load: load is not the cause",
            infeasible=not clean,
        )
    low = max(clean)
    glm = knee.fit_violations(
        [point.rate for point in loaded if point.rate > 0],
        [point.failed for point in loaded if point.rate > 0],
        [point.requests for point in loaded if point.rate > 0],
        allowed,
    )
    methods = {"errors_bracket": float(np.sqrt(low * high))}
    if glm is not None:
        methods["errors_glm"] = float(np.clip(glm.rate, low, high))
    rate = methods.get("errors_glm", methods["errors_bracket"])
    check = f"errors stay within {allowed:.2%} at {low:.3g} req/s and reach {share:.2%} at {high:.3g} req/s"
    return Estimate(
        rate, (low * 0.95, high), True, float(np.log(high / low)) / 2, methods, "errors", (check,)
    )


def _exceeds(failed: float, requests: float, allowed: float) -> bool:
    """Whether chance gives so many failures in at most 1 of 100 cases, were `allowed` the true share."""
    from scipy.stats import binom

    return failed >= 2 and float(binom.sf(failed - 1, round(requests), allowed)) < 0.01


def bound_name(bound: LatencyBound) -> str:
    """`p95`."""
    return quantile_name(bound.quantile)
