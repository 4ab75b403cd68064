"""An estimate against its neighbours: the regression, and stages that answer by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.capacity.identification import Identification
from advisor.capacity.regression import Estimate, points_of_stages
from advisor.domain import Arrivals, Capacity, Outcome, RequestLog, Slo, StageResult
from advisor.loadtest.verdict.direct import Direct, stage_status
from advisor.units import format_seconds, quantile_name

Z90 = 1.645  # half-width of a 90 % interval in standard deviations
_LEAST_DEVIATION = 0.015  # the solver's own
_UNLIKELY = 0.05  # probability of a replay below which the stages have a say
_CORRECTED_BEYOND = 4.0  # |z| beyond which the identification corrects itself
_LEAST_STEEPNESS = 0.5
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
    sheds = any(stage.log.failed.any() for stage in stages)
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
    """Whether some load, or the idle server, held every bound, and failed as few requests as it may: then no
    fit may call it hopeless.
    """
    held: set[float] | None = None
    sound = [stage for stage in stages if _few_errors(stage.log, slo)]
    for bound in slo.latency:
        points = points_of_stages(sound, bound)
        rates = {point.rate for point in points if point.quantile <= bound.seconds}
        held = rates if held is None else held & rates
    return bool(held)


def _few_errors(log: RequestLog, slo: Slo) -> bool:
    """Rejections aside: they tell of too much load."""
    failed = log.failed & (log.outcome != Outcome.REJECTED)
    return bool(failed.sum() <= slo.error_ratio * (~log.cut).sum())


def inverted(stages: Sequence[StageResult], slo: Slo) -> str | None:
    """Where a load was much slower than the same or a higher one at another time: something changed."""
    for bound in slo.latency:
        points = [point for point in points_of_stages(stages, bound) if point.rate > 0]
        for slow in points:
            for fast in points:
                slower = slow.quantile / fast.quantile
                apart = (fast.rate > 1.1 * slow.rate and slower > 1.5) or (
                    fast.rate > 0.98 * slow.rate and slower > 4.0
                )
                if apart and fast.quantile <= bound.seconds < slow.quantile:
                    name = quantile_name(bound.quantile)
                    return (
                        f"{name} was {format_seconds(slow.quantile)} at {slow.rate:.3g} req/s, but "
                        f"{format_seconds(fast.quantile)} at {fast.rate:.3g} req/s: the server or its "
                        "machine was not the same all along, run again when it is quiet"
                    )
    return None


def moved_by_replay(found: Identification) -> tuple[float, tuple[float, float], str] | None:
    """The capacity moved half-way to what the replayed stages showed, where chance hardly explains them.

    A machine that changes during a run leaves a server that fits the whole and not the stages near the knee,
    which count. The interval holds both ends. None where the replay is in order, or has been corrected for.
    """
    check = found.replay
    if not check.stages or check.probability >= _UNLIKELY or abs(check.z) > _CORRECTED_BEYOND:
        return None
    steepness = _steepness(found, check.quantile)
    if steepness is None:
        return None
    shown = found.rps * float(np.exp(np.clip(-check.shift / steepness, -0.3, 0.3)))
    rps = float(np.sqrt(found.rps * shown))
    low, high = found.interval
    ratio = rps / found.rps
    interval = (min(low * ratio, found.rps, shown), max(high * ratio, found.rps, shown))
    sentence = (
        f"the stages near the capacity were {check.shift:+.0%} off the identified server's latency "
        f"({check.probability:.1%} likely by chance): the machine was not the same all along; moved from "
        f"{found.rps:.4g} to {rps:.4g} req/s, repeat the run to settle it"
    )
    return rps, interval, sentence


def _steepness(found: Identification, quantile: float) -> float | None:
    """Relative growth of the latency quantile over that of the rate, just below the capacity."""
    points = [(p.rate, p.quantiles[quantile]) for p in found.curve if p.quantiles.get(quantile, 0.0) > 0]
    if len(points) < 2:
        return None
    rates, latencies = np.log([rate for rate, _ in points]), np.log([latency for _, latency in points])
    low, high = np.log(0.85 * found.rps), np.log(found.rps)
    rise = float(np.interp(high, rates, latencies) - np.interp(low, rates, latencies)) / float(high - low)
    return max(rise, _LEAST_STEEPNESS)


def lasting(found: Identification) -> str | None:
    """Why minutes at one load do not tell what the identified server holds for long; None where they do.

    In overload it may stay slow once it is so, or its machine is slow now and then: a stage saw only how it
    was just then, and so did the regression, which knows nothing but stages.
    """
    if found.model.best_in_flight is not None:
        return "stages of minutes do not show how often a burst makes this server stay slow"
    if found.disturbance is not None:
        return "stages of minutes do not show how often the machine is slow"
    return None


def agreement(
    rps: float, interval: tuple[float, float], other: Estimate, beside: str | None = None
) -> Agreement:
    """Identification and regression as one answer, where the regression saw both sides of the knee.

    The precision-weighted mean of both logarithms; its interval holds both estimates. On simulated servers
    within the families it changes little; outside of them it halves the large errors, for the two methods err
    for different reasons. `beside` is a reason to compare them only.
    """
    alternatives = {f"regression_{name}": value for name, value in other.methods.items()}
    alternatives |= {"regression": other.rps, "identification": rps}
    kind = "brackets the knee" if other.bracketed else "extrapolates"
    sentence = (
        f"the regression {kind} and says {other.rps:.4g} req/s ({other.interval[0]:.4g} to "
        f"{other.interval[1]:.4g}), {other.rps / rps - 1:+.0%} against the identified server"
    )
    if beside is not None:
        return Agreement(True, f"{sentence}; not weighed in: {beside}", rps, interval, alternatives)
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


def clip(found: Capacity, seen: Seen, *, metastable: bool = False) -> tuple[float, str | None]:
    """The rate moved to what a stage showed by itself, with a sentence; its own and None if nothing
    contradicts.

    A failed stage lowers it only where no disturbance explains it and no higher stage met the objective. One
    that held raises it, but minutes say little of a `metastable` server, and on a disturbed machine the stage
    may have met it between two spells: it speaks of the undisturbed capacity.
    """
    rps, disturbed = found.rps, found.disturbance is not None
    believed = (found.undisturbed_rps or rps) if disturbed else rps
    if seen.met is not None and believed < seen.met and not metastable:
        quiet = f", where {believed:.4g} were thought to be the most between two spells" if disturbed else ""
        return rps * seen.met / believed, (
            f"the estimate of {rps:.4g} req/s was raised: a stage at {seen.met:.4g} req/s met the objective "
            f"by itself{quiet}"
        )
    contradicted = seen.violated is not None and rps > seen.violated
    if seen.violated is not None and contradicted and not disturbed and (seen.met or 0.0) < seen.violated:
        return seen.violated, (
            f"the estimate of {rps:.4g} req/s was lowered: a stage at {seen.violated:.4g} req/s missed the "
            "objective by itself"
        )
    return rps, None
