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

    throughput: which X it was fitted to. sigma: contention, the share of the work for which replicas queue on
    one another; kappa: crosstalk, what each pair of them costs. A coefficient whose interval includes 0 is
    not `shown`: the data do without it. The peak is where another replica takes more than it brings;
    `peak_at_least` where κ is not shown; neither where replicas gain from one another (σ or κ below 0).
    """

    throughput: str  # "saturation" or "capacity"
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
    saturation = [capacity.saturation_rps for capacity in known.values()]
    # Contention and crosstalk are of throughput. Within an objective, replicas behind one queue gain from one
    # another besides, which is no part of the law.
    name = "capacity" if None in saturation else "saturation"
    values = [capacity.rps for capacity in known.values()] if None in saturation else saturation
    errors = np.array([_relative_error(capacity) for capacity in known.values()])
    return ScalabilityFindings(points, fit_usl(counts, np.array(values, float), errors, name), None)


def fit_usl(counts: Floats, rates: Floats, errors: Floats, throughput: str = "saturation") -> UslFit:
    """`rates` (req/s) with relative standard `errors`, at three or more replica `counts`.

    N/X = 1/λ + σ/λ·(N−1) + κ/λ·N(N−1) is linear in its coefficients (Gunther, "Guerrilla Capacity
    Planning", 2007, chapter 5), so weighted least squares with the known errors solves it; where the points
    scatter more than these say, the errors grow with the scatter. Intervals of σ and κ by the delta method.
    """
    law = _Fitted.of(counts, rates, errors, (_SIGMA, _KAPPA))
    sigma, sigma_interval = law.ratio(_SIGMA)
    kappa, kappa_interval = law.ratio(_KAPPA)
    sigma_shown, kappa_shown = _excludes_zero(sigma_interval), _excludes_zero(kappa_interval)
    peak = peak_rps = at_least = None
    gains = (sigma_shown and sigma < 0) or (kappa_shown and kappa < 0)
    contention = min(max(sigma, 0.0), 1.0) if sigma_shown else 0.0
    if kappa_shown and not gains:
        crosstalk = kappa
        if not sigma_shown:
            law = _Fitted.of(counts, rates, errors, (_KAPPA,))
            crosstalk, _ = law.ratio(_KAPPA)
        peak = max(math.sqrt((1 - contention) / crosstalk), 1.0)
        peak_rps = law.one * peak / (1 + contention * (peak - 1) + crosstalk * peak * (peak - 1))
    elif not gains and kappa_interval[1] > 0:
        at_least = max(math.sqrt((1 - contention) / kappa_interval[1]), float(counts.max()))
    return UslFit(
        throughput,
        law.one,
        sigma,
        sigma_interval,
        sigma_shown,
        kappa,
        kappa_interval,
        kappa_shown,
        peak,
        peak_rps,
        at_least,
    )


_SIGMA, _KAPPA = "sigma", "kappa"


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Coefficients of N/X with their covariance; the first is 1/λ, then those of `names`."""

    names: tuple[str, ...]
    coefficients: Floats
    covariance: Floats

    @classmethod
    def of(cls, counts: Floats, rates: Floats, errors: Floats, names: tuple[str, ...]) -> _Fitted:
        import statsmodels.api as sm

        columns = {_SIGMA: counts - 1, _KAPPA: counts * (counts - 1)}
        y = counts / rates
        design = np.column_stack([np.ones_like(counts), *(columns[name] for name in names)])
        model = sm.WLS(y, design, weights=1 / (y * errors) ** 2)
        free = counts.size - design.shape[1]
        scale = max(1.0, float(model.fit().ssr) / free) if free else 1.0
        fit = model.fit(cov_type="fixed scale", cov_kwds={"scale": scale})
        return cls(names, np.asarray(fit.params), np.asarray(fit.cov_params()))

    @property
    def one(self) -> float:
        return 1 / float(self.coefficients[0])

    def ratio(self, name: str) -> tuple[float, tuple[float, float]]:
        """A coefficient of the law and its interval."""
        index = 1 + self.names.index(name)
        value = float(self.coefficients[index] / self.coefficients[0])
        gradient = np.zeros(self.coefficients.size)
        gradient[index], gradient[0] = self.one, -value * self.one
        error = math.sqrt(float(gradient @ self.covariance @ gradient))
        width = error * float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
        return value, (value - width, value + width)


def _excludes_zero(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


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
