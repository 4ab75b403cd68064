"""Latency against load below the knee: quantile = s₀ + k·ρ^a/(1−ρ), ρ = rate/μ, as a posterior over (a, μ).

ρ^a/(1−ρ) with a = √(2(c+1)) − 1 is the waiting time of c workers (Sakasegawa 1977); a = 1 is one worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.capacity.regression.points import LoadPoint
from advisor.domain import Floats

WORKERS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
EXPONENTS = np.sqrt(2.0 * (WORKERS + 1.0)) - 1.0
_GRID = 160
_FARTHEST = 30.0  # μ is sought up to this multiple of the top load
_CAP = 3.0  # times the top load
_OVER_CEILING = 1.03  # a resource cannot do more than it has
_LEAST_SIGMA = 0.03


@dataclass(frozen=True, slots=True)
class Hyperbola:
    """The posterior as weighted curves: arrays over the grid of (a, μ)."""

    weight: Floats
    exponent: Floats
    saturation: Floats
    quantile_base: Floats
    quantile_slope: Floats
    mean_base: Floats
    mean_slope: Floats
    top_rate: float
    cap: float  # no root beyond it is believed

    def root(self, seconds: float) -> tuple[float, float]:
        """The rate at which the quantile reaches `seconds`: weighted median and SD of its logarithm."""
        roots = np.minimum(self._roots(seconds), self.cap)
        median = weighted_median(roots, self.weight)
        if median <= 0:
            return 0.0, float("inf")
        logs = np.log(np.maximum(roots, 1e-3 * self.top_rate))
        spread = np.sqrt(np.average((logs - np.average(logs, weights=self.weight)) ** 2, weights=self.weight))
        return median, float(spread)

    def quantile(self, rate: float) -> float | None:
        """Posterior median of the quantile at `rate` (s); None beyond half of the believed saturations."""
        return self._value(self.quantile_base, self.quantile_slope, rate)

    def mean(self, rate: float) -> float | None:
        """Posterior median of the mean latency at `rate` (s)."""
        return self._value(self.mean_base, self.mean_slope, rate)

    def saturated(self) -> float:
        """Posterior median of μ (req/s)."""
        return weighted_median(self.saturation, self.weight)

    def _value(self, base: Floats, slope: Floats, rate: float) -> float | None:
        rho = rate / self.saturation
        below = rho < 1.0
        if float(self.weight[below].sum()) <= 0.5:
            return None
        wait = rho**self.exponent / np.where(below, 1.0 - rho, 1.0)
        return weighted_median(np.where(below, base + slope * wait, np.inf), self.weight)

    def _roots(self, seconds: float) -> Floats:
        """ρ^a/(1−ρ) = (seconds − s₀)/k solved for every curve by bisection of ρ in (0, 1)."""
        flat = self.quantile_slope <= 0
        goal = (seconds - self.quantile_base) / np.where(flat, 1.0, self.quantile_slope)
        low, high = np.zeros_like(goal), np.ones_like(goal)
        for _ in range(45):
            middle = (low + high) / 2
            below = middle**self.exponent < goal * (1.0 - middle)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        rho = np.where(flat, 1.0, low)
        return np.where(self.quantile_base < seconds, rho, 0.0) * self.saturation


def fit_hyperbola(
    points: Sequence[LoadPoint], ceiling: float | None = None, workers: int | None = None
) -> Hyperbola | str:
    """The posterior from stable points; a sentence when the data cannot carry it.

    `ceiling`: the resource's own limit (req/s), a tight prior on μ from above and a looser one from below
    (a server may saturate before its CPU does); `workers`: known count, a prior on a and on μ.
    """
    top = max((point.rate for point in points), default=0.0)
    if top <= 0 or len({point.rate for point in points}) < 3:
        loads = "1 stable load" if len(points) == 1 else f"{len(points)} stable loads"
        return f"latency was seen at {loads}; a curve needs 3"
    rate = np.array([point.rate for point in points])
    quantile = np.array([point.quantile for point in points])
    mean = np.array([point.mean for point in points])
    count = np.array([point.answered for point in points])
    count = count / count.mean()

    grid = top * np.geomspace(1.003, _FARTHEST, _GRID)
    exponent, saturation = np.repeat(EXPONENTS, _GRID), np.tile(grid, len(EXPONENTS))
    rho = rate[None, :] / saturation[:, None]
    wait = rho ** exponent[:, None] / (1.0 - rho)
    q_base, q_slope, q_fit = _fit(wait, quantile, count)
    m_base, m_slope, m_fit = _fit(wait, mean, count)
    misfit = (count * np.log(quantile / q_fit) ** 2).sum(1) + 0.5 * (count * np.log(mean / m_fit) ** 2).sum(1)
    freedom = max(1.5 * len(points) - 3.0, 1.0)
    variance = max(_LEAST_SIGMA**2, float(misfit.min()) / freedom)
    log_weight = -misfit / (2.0 * variance)
    if ceiling is not None:
        log_weight += _ceiling_prior(np.log(saturation / ceiling), above=0.05, below=0.10)
    if workers is not None:
        service = np.maximum(m_base, 1e-9)
        log_weight += _ceiling_prior(np.log(saturation * service / workers), above=0.07, below=0.07)
        likely = np.log(np.sqrt(2.0 * (workers + 1.0)) - 1.0)
        log_weight -= 0.5 * ((np.log(exponent) - likely) / 0.35) ** 2
    weight = np.exp(log_weight - log_weight.max())
    cap = _CAP * top if ceiling is None else min(_CAP * top, _OVER_CEILING * ceiling)
    return Hyperbola(
        weight / weight.sum(), exponent, saturation, q_base, q_slope, m_base, m_slope, float(top), cap
    )


def _ceiling_prior(distance: Floats, above: float, below: float) -> Floats:
    """Log prior on ln(μ/ceiling): normal above it, Student-t with three degrees of freedom below it."""
    return np.where(
        distance > 0, -0.5 * (distance / above) ** 2, -2.0 * np.log1p((distance / below) ** 2 / 3.0)
    )


def _fit(wait: Floats, seen: Floats, count: Floats) -> tuple[Floats, Floats, Floats]:
    """Base and slope ≥ 0 of seen ~ base + slope·wait, for each row of `wait`; weights count/fit²."""
    fitted = np.broadcast_to(seen, wait.shape)
    base = slope = np.zeros(len(wait))
    for _ in range(3):
        w = count / fitted**2
        s0, s1, s2 = w.sum(1), (w * wait).sum(1), (w * wait**2).sum(1)
        t0, t1 = (w * seen).sum(1), (w * wait * seen).sum(1)
        slope = (s0 * t1 - s1 * t0) / np.maximum(s0 * s2 - s1**2, 1e-300)
        base = (t0 - slope * s1) / s0
        slope, base = np.where(slope < 0, 0.0, slope), np.where(slope < 0, t0 / s0, base)
        slope, base = np.where(base < 0, t1 / s2, slope), np.where(base < 0, 0.0, base)
        fitted = np.maximum(base[:, None] + slope[:, None] * wait, 1e-12)
    return base, slope, fitted


def weighted_median(values: Floats, weight: Floats) -> float:
    """The value with half of the weight on each side."""
    order = np.argsort(values)
    cumulative = np.cumsum(weight[order])
    return float(values[order][int(np.searchsorted(cumulative, 0.5 * cumulative[-1]))])
