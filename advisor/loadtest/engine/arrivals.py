"""When requests are due: arrival times drawn before they are needed. Pure numpy.

Every random stream is one of unit rate mapped through the inverse of the cumulative rate Λ(t) (time
rescaling: Daley & Vere-Jones, "An Introduction to the Theory of Point Processes", 2003, theorem 7.4.I), so
steady, ramp and replay differ in Λ alone. Its gaps follow a gamma law of mean 1 and coefficient of variation
cv (shape 1/cv², scale cv²); cv = 1 is the exponential law of a Poisson stream.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from advisor.domain import Arrivals, Floats, Stage
from advisor.loadtest.protocol import Caps, Part

_CHUNK = 4096  # arrivals drawn at a time: a soak of days costs no more memory than a short one

T = TypeVar("T")
Inverse = Callable[[Floats], Floats]


def peak_rate(stage: Stage, caps: Caps) -> float:
    """The highest rate (req/s) that a stage asks for; a ramp is held at the cap instead."""
    match stage.arrivals:
        case Arrivals.SINGLE | Arrivals.VOLLEY | Arrivals.USERS:
            return 0.0
        case Arrivals.REPLAY:
            return max((rate for _, rate in stage.curve), default=0.0)
        case Arrivals.RAMP:
            return min(stage.rate, caps.rate)
        case _:
            return stage.rate


def complaint(stage: Stage, caps: Caps) -> str | None:
    """Why a stage cannot be run under these caps, as a sentence; None when it can."""
    name = f"stage '{stage.name}'"
    if not (math.isfinite(stage.seconds) and stage.seconds > 0):
        return f"{name} must last longer than 0 s, asked for {stage.seconds}"
    if stage.arrivals is Arrivals.VOLLEY:
        return None if stage.count and stage.count > 0 else f"{name} is a volley and needs a count above 0"
    if stage.arrivals is Arrivals.USERS:
        if not stage.count or stage.count < 1:
            return f"{name} needs a count of users above 0"
        above = stage.count > caps.in_flight
        return f"{name} asks for {stage.count} users, above the cap of {caps.in_flight}" if above else None
    if stage.arrivals is Arrivals.SINGLE:
        return None
    if stage.arrivals is Arrivals.REPLAY:
        times = [t for t, _ in stage.curve]
        if not times or any(b <= a for a, b in itertools.pairwise(times)):
            return f"{name} is a replay and needs a curve with ascending times"
        if any(not (math.isfinite(rate) and rate >= 0) for _, rate in stage.curve):
            return f"{name} has a rate below 0 in its curve"
    elif not (math.isfinite(stage.rate) and stage.rate > 0):
        return f"{name} needs a rate above 0 req/s, asked for {stage.rate}"
    if stage.arrivals is Arrivals.RAMP and not (stage.doubling and stage.doubling > 0):
        return f"{name} is a ramp and needs 'doubling' in seconds"
    if not (math.isfinite(stage.cv) and stage.cv > 0):
        return f"{name} needs a cv above 0, asked for {stage.cv}"
    peak = peak_rate(stage, caps)
    if peak > caps.rate * (1 + 1e-9):
        return f"{name} asks for {peak:g} req/s, above the cap of {caps.rate:g} req/s"
    return None


def offsets(stage: Stage, caps: Caps) -> Iterator[list[float]]:
    """Ascending seconds from the stage's beginning, chunk by chunk, all within `stage.seconds`.

    SINGLE and USERS have none: there each request waits for the last one's end.
    """
    match stage.arrivals:
        case Arrivals.SINGLE | Arrivals.USERS:
            return
        case Arrivals.VOLLEY:
            yield [0.0] * int(stage.count or 0)
        case Arrivals.CONSTANT:
            yield from _constant(stage)
        case Arrivals.POISSON | Arrivals.GAMMA:
            rate = stage.rate
            cv = stage.cv if stage.arrivals is Arrivals.GAMMA else 1.0
            yield from _random(stage, cv, lambda mass: mass / rate)
        case Arrivals.RAMP:
            yield from _random(stage, 1.0, ramp_inverse(stage.rate, stage.doubling or math.inf, caps.rate))
        case Arrivals.REPLAY:
            yield from _random(stage, stage.cv, curve_inverse(stage.curve, stage.seconds))


def share_of(
    due: Iterator[list[float]], requests: Iterator[T], part: Part
) -> tuple[Iterator[list[float]], Iterator[T]]:
    """What one of several generators sends: each arrival, with its request, goes to one of them at random.

    So each sends a Poisson stream where all together do (thinning: Daley & Vere-Jones, section 11.3), and how
    far their clocks are apart does not show.
    """
    mine = _mine(part)
    return (list(itertools.compress(chunk, mine)) for chunk in due), itertools.compress(requests, _mine(part))


def _mine(part: Part) -> Iterator[bool]:
    rng = np.random.default_rng([part.stage.seed, 3])
    while True:
        yield from (rng.integers(part.of, size=_CHUNK) == part.index).tolist()


def _constant(stage: Stage) -> Iterator[list[float]]:
    total = math.ceil(stage.seconds * stage.rate - 1e-9)
    for first in range(0, total, _CHUNK):
        yield (np.arange(first, min(first + _CHUNK, total)) / stage.rate).tolist()


def _random(stage: Stage, cv: float, inverse: Inverse) -> Iterator[list[float]]:
    rng = np.random.default_rng([stage.seed, 0])
    mass = 0.0
    while True:
        gaps = rng.exponential(size=_CHUNK) if cv == 1 else rng.gamma(cv**-2, cv**2, _CHUNK)
        reached = mass + np.cumsum(gaps)
        mass = float(reached[-1])
        times = inverse(reached)
        inside = times < stage.seconds
        yield times[inside].tolist()
        if not inside.all():
            return


def ramp_inverse(first: float, doubling: float, cap: float) -> Inverse:
    """Λ⁻¹ of rate(t) = min(cap, first·2^(t/doubling))."""
    growth = math.log(2) / doubling
    until = max(0.0, math.log(cap / first) / growth) if cap > first else 0.0
    below = first * math.expm1(growth * until) / growth
    held = min(cap, first) if until == 0.0 else cap

    def inverse(mass: Floats) -> Floats:
        rising = np.log1p(np.minimum(mass, below) * growth / first) / growth
        return np.asarray(np.where(mass <= below, rising, until + (mass - below) / held))

    return inverse


def curve_inverse(curve: tuple[tuple[float, float], ...], seconds: float) -> Inverse:
    """Λ⁻¹ of a rate that is linear between the points, and constant before the first and after the last.

    Masses beyond the curve's end give infinity.
    """
    inner = [t for t, _ in curve if 0 < t < seconds]
    times = np.array([0.0, *inner, seconds])
    rates = np.interp(times, [t for t, _ in curve], [rate for _, rate in curve])
    widths = np.diff(times)
    slopes = np.diff(rates) / widths
    masses = np.concatenate([[0.0], np.cumsum((rates[:-1] + rates[1:]) / 2 * widths)])

    def inverse(mass: Floats) -> Floats:
        part = np.clip(np.searchsorted(masses, mass, side="right") - 1, 0, widths.size - 1)
        left = mass - masses[part]
        start = rates[part]
        # The stable root of slope/2·x² + start·x = left: no cancellation where the slope is small.
        root = np.sqrt(np.maximum(start**2 + 2 * slopes[part] * left, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = times[part] + np.where(left > 0, 2 * left / (start + root), 0.0)
        return np.asarray(np.where(mass < masses[-1], inside, np.inf))

    return inverse
