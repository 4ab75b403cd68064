"""What a scalability run showed: Gunther's Universal Scalability Law across the replica counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from advisor.domain import Capacity, Floats, Refusal

CONFIDENCE = 0.90
FEWEST = 3  # counts: the law has three parameters
SMALLEST_ERROR = 0.01  # of a capacity: no interval is trusted to be narrower


@dataclass(frozen=True, slots=True)
class ScalePoint:
    """The capacity of all replicas together (req/s). `efficiency`: that of one of them, as a share of that of
    one at the lowest count.
    """

    replicas: int
    rps: float | None
    interval: tuple[float, float] | None
    efficiency: float | None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class UslFit:
    """X(N) = λN / (1 + σ(N−1) + κN(N−1)), with 90 % intervals; λ is `rps_of_one`.

    sigma: contention, the share of the work for which replicas queue on one another; kappa: crosstalk, what
    each pair of them costs. A coefficient whose interval includes 0 is not `shown`: the data do without it.
    The peak is where another replica takes more than it brings; `peak_at_least` where κ is not shown.
    """

    rps_of_one: float
    sigma: float
    sigma_interval: tuple[float, float]
    sigma_shown: bool
    kappa: float
    kappa_interval: tuple[float, float]
    kappa_shown: bool
    peak_replicas: float | None
    peak_rps: float | None
    peak_at_least: float | None


@dataclass(frozen=True, slots=True)
class ScalabilityFindings:
    """A point for each count, ascending; the law, or why it was not fitted."""

    points: tuple[ScalePoint, ...]
    law: UslFit | None
    refusal: str | None


def scalability_findings(found: Mapping[int, Capacity | Refusal]) -> ScalabilityFindings:
    """From the capacity of all replicas together, by their number."""
    known = {n: c for n, c in sorted(found.items()) if isinstance(c, Capacity)}
    first = next(iter(known.items()), None)
    points = tuple(_point(count, answer, first) for count, answer in sorted(found.items()))
    if len(known) < FEWEST:
        reason = f"the law of scalability needs {FEWEST} replica counts with a capacity, found {len(known)}"
        return ScalabilityFindings(points, None, reason)
    counts = np.array(list(known), float)
    rates = np.array([capacity.rps for capacity in known.values()])
    errors = np.array([_relative_error(capacity) for capacity in known.values()])
    return ScalabilityFindings(points, fit_usl(counts, rates, errors), None)


def fit_usl(counts: Floats, rates: Floats, errors: Floats) -> UslFit:
    """`rates` (req/s) with relative standard `errors`, at three or more replica `counts`.

    N/X = 1/λ + σ/λ·(N−1) + κ/λ·N(N−1) is linear in its coefficients (Gunther, "Guerrilla Capacity
    Planning", 2007, chapter 5), so weighted least squares with the known errors solves it; where the points
    scatter more than these say, the errors grow with the scatter. Intervals of σ and κ by the delta method.
    """
    sigma, sigma_interval, _ = _ratio(counts, rates, errors, 1)
    kappa, kappa_interval, coefficients = _ratio(counts, rates, errors, 2)
    kappa_shown = kappa_interval[0] > 0
    if not kappa_shown:  # what κ took from σ goes back to it
        sigma, sigma_interval, coefficients = _ratio(counts, rates, errors, 1, columns=2)
    sigma_shown = sigma_interval[0] > 0
    peak = peak_rps = at_least = None
    contention = min(max(sigma, 0.0), 1.0)
    one = 1 / float(coefficients[0])
    if kappa_shown:
        peak = max(math.sqrt((1 - contention) / kappa), 1.0)
        peak_rps = one * peak / (1 + contention * (peak - 1) + kappa * peak * (peak - 1))
    elif kappa_interval[1] > 0:
        at_least = max(math.sqrt((1 - contention) / kappa_interval[1]), float(counts.max()))
    return UslFit(
        one, sigma, sigma_interval, sigma_shown, kappa, kappa_interval, kappa_shown, peak, peak_rps, at_least
    )


def _ratio(
    counts: Floats, rates: Floats, errors: Floats, index: int, columns: int = 3
) -> tuple[float, tuple[float, float], Floats]:
    """Coefficient `index` over the first one, its interval, and all coefficients."""
    import statsmodels.api as sm

    y = counts / rates
    design = np.column_stack([np.ones_like(counts), counts - 1, counts * (counts - 1)])[:, :columns]
    model = sm.WLS(y, design, weights=1 / (y * errors) ** 2)
    spread = model.fit()
    scale = max(1.0, float(spread.scale)) if counts.size > columns else 1.0
    fit = model.fit(cov_type="fixed scale", cov_kwds={"scale": scale})
    coefficients, covariance = np.asarray(fit.params), np.asarray(fit.cov_params())
    value = float(coefficients[index] / coefficients[0])
    gradient = np.zeros(columns)
    gradient[index], gradient[0] = 1 / coefficients[0], -value / coefficients[0]
    error = math.sqrt(float(gradient @ covariance @ gradient))
    width = error * float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    return value, (value - width, value + width), coefficients


def _point(count: int, answer: Capacity | Refusal, first: tuple[int, Capacity] | None) -> ScalePoint:
    if isinstance(answer, Refusal):
        return ScalePoint(count, None, None, None, answer.reason)
    assert first is not None, "this one is known"
    lowest, base = first
    return ScalePoint(count, answer.rps, answer.interval, (answer.rps / count) / (base.rps / lowest))


def _relative_error(capacity: Capacity) -> float:
    low, high = capacity.interval
    wide = (
        math.log(high / low) / (2 * float(stats.norm.ppf(0.5 + capacity.confidence / 2))) if low > 0 else 1.0
    )
    return max(wide, SMALLEST_ERROR)
