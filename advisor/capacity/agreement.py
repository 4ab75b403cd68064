"""An estimate against its neighbours: the regression, and stages that answer by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.capacity.regression import Estimate, points_of_stages
from advisor.domain import Arrivals, Slo, StageResult
from advisor.loadtest.verdict.direct import Direct, stage_status

Z90 = 1.645  # half-width of a 90 % interval in standard deviations
_LEAST_DEVIATION = 0.015  # the solver's own
_LONG = 20.0  # s: a shorter burst starts empty and flatters the server


@dataclass(frozen=True, slots=True)
class Seen:
    """The highest rate of a stage that met the objective, the lowest of one that did not (req/s)."""

    met: float | None
    violated: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether two estimates leave room for one truth, and what both say together."""

    agrees: bool
    sentence: str
    rps: float
    interval: tuple[float, float]
    alternatives: dict[str, float]


def directly_seen(stages: Sequence[StageResult], slo: Slo) -> Seen:
    """What long open-loop stages show at 99 % confidence, without any model of the server."""
    met, violated = [], []
    sheds = any(not stage.log.ok.all() for stage in stages)
    for stage in stages:
        rate = stage.offered_rps
        if stage.stage.arrivals is not Arrivals.POISSON or rate is None or stage.end - stage.start < _LONG:
            continue
        status = stage_status(stage, slo, sheds=sheds)
        if status is Direct.MET:
            met.append(rate)
        elif status is Direct.VIOLATED:
            violated.append(rate)
    return Seen(max(met, default=None), min(violated, default=None))


def held_somewhere(stages: Sequence[StageResult], slo: Slo) -> bool:
    """Whether some load, or the idle server, held every bound: then no fit may call it hopeless."""
    held: set[float] | None = None
    for bound in slo.latency:
        points = points_of_stages(stages, bound)
        rates = {point.rate for point in points if point.quantile <= bound.seconds}
        held = rates if held is None else held & rates
    return bool(held)


def agreement(rps: float, interval: tuple[float, float], other: Estimate) -> Agreement:
    """Identification and regression as one answer, where the regression saw both sides of the knee.

    The precision-weighted mean of both logarithms; its interval holds both estimates. On simulated servers
    within the families it changes little; outside of them it halves the large errors, for the two methods err
    for different reasons.
    """
    alternatives = {f"regression_{name}": value for name, value in other.methods.items()}
    alternatives |= {"regression": other.rps, "identification": rps}
    kind = "brackets the knee" if other.bracketed else "extrapolates"
    sentence = (
        f"the regression {kind} and says {other.rps:.4g} req/s ({other.interval[0]:.4g} to "
        f"{other.interval[1]:.4g}), {other.rps / rps - 1:+.0%} against the identified server"
    )
    if not other.bracketed:
        return Agreement(True, sentence, rps, interval, alternatives)
    mine, theirs = max(_deviation(interval), _LEAST_DEVIATION), _deviation(other.interval)
    apart = float(np.log(other.rps / rps))
    weight = mine**2 / (mine**2 + theirs**2)
    middle = rps * float(np.exp(weight * apart))
    half = float(np.log(interval[1] / interval[0])) / 2
    low, high = middle * float(np.exp(-half)), middle * float(np.exp(half))
    both = (min(low, rps, other.rps), max(high, rps, other.rps))
    if abs(apart) <= Z90 * float(np.hypot(mine, theirs)):
        return Agreement(True, sentence, middle, both, alternatives)
    return Agreement(
        False, sentence + ": they disagree, run longer near the knee to settle it", middle, both, alternatives
    )


def _deviation(interval: tuple[float, float]) -> float:
    """Standard deviation of the logarithm behind a 90 % interval."""
    return float(np.log(interval[1] / interval[0])) / (2 * Z90)


def clip(rps: float, seen: Seen, *, disturbed: bool) -> tuple[float, str | None]:
    """The rate moved to what a stage showed by itself, with a sentence; (rps, None) if nothing contradicts.

    A failed stage lowers it only where no disturbance explains it and no higher stage met the objective.
    """
    if seen.met is not None and rps < seen.met:
        return seen.met, (
            f"the estimate of {rps:.4g} req/s was raised: a stage at {seen.met:.4g} req/s met the objective "
            "by itself"
        )
    contradicted = seen.violated is not None and rps > seen.violated
    if seen.violated is not None and contradicted and not disturbed and (seen.met or 0.0) < seen.violated:
        return seen.violated, (
            f"the estimate of {rps:.4g} req/s was lowered: a stage at {seen.violated:.4g} req/s missed the "
            "objective by itself"
        )
    return rps, None
