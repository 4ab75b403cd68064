"""An estimate against its neighbours: the regression, and stages that answer by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.capacity.regression import Estimate, points_of_stages
from advisor.domain import Arrivals, Slo, StageResult
from advisor.loadtest.verdict.direct import Direct, stage_status

_LONG = 20.0  # s: a shorter burst starts empty and flatters the server


@dataclass(frozen=True, slots=True)
class Seen:
    """The highest rate of a stage that met the objective, the lowest of one that did not (req/s)."""

    met: float | None
    violated: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether two intervals leave room for one truth; the interval widened where they do not."""

    agrees: bool
    sentence: str
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
    """Identification against regression; only a regression that saw both sides of the knee may widen."""
    alternatives = {f"regression_{name}": value for name, value in other.methods.items()}
    alternatives["regression"] = other.rps
    kind = "brackets the knee" if other.bracketed else "extrapolates"
    agrees = other.interval[0] <= interval[1] and interval[0] <= other.interval[1]
    sentence = (
        f"the regression {kind} and says {other.rps:.4g} req/s ({other.interval[0]:.4g} to "
        f"{other.interval[1]:.4g}), {other.rps / rps - 1:+.0%} against the identified server"
    )
    if agrees:
        return Agreement(True, sentence, interval, alternatives)
    widened = interval
    if other.bracketed:
        middle = float(np.sqrt(rps * other.rps))
        widened = (min(interval[0], middle), max(interval[1], middle))
    return Agreement(
        False, sentence + ": they disagree, run longer near the knee to settle it", widened, alternatives
    )


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
