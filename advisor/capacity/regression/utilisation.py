"""The utilisation law: cores used = idle + demand × rate, where demand is the CPU seconds of one request.

Source: Denning and Buzen, "The Operational Analysis of Queueing Network Models" (1978), U = X·S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from advisor.capacity.regression.points import CpuPoint

_CURVED = 0.99  # one-sided confidence in the quadratic term at which the line is given up
_CONVEX_SHARE = 0.1
_CONCAVE_SHARE = -0.2
_FEWEST_FOR_A_CURVE = 8
_SERIES = 24  # windows from which errors are those of a time series


class Shape(StrEnum):
    """How the CPU of one request changes with load."""

    LINEAR = "linear"
    CONVEX = "convex"  # contention: each request costs more under load
    CONCAVE = "concave"  # batching: each request costs less


@dataclass(frozen=True, slots=True)
class ServiceDemand:
    """cores(rate) = idle + linear·rate + quadratic·rate².

    `error` is the relative standard error of `linear`; `top_rate` and `top_cores` are the highest seen.
    """

    idle: float
    linear: float
    quadratic: float
    shape: Shape
    error: float
    top_rate: float
    top_cores: float
    points: int

    def cores(self, rate: float) -> float:
        """Cores at `rate`."""
        return self.idle + self.linear * rate + self.quadratic * rate * rate

    def elasticity(self, rate: float) -> float:
        """Relative growth of cores over that of the rate: 1 where CPU follows load, 0 where it does not."""
        return rate * (self.linear + 2.0 * self.quadratic * rate) / self.cores(rate)

    def ceiling(self, limit_cores: float) -> float | None:
        """The rate at which the CPU is all used; None where requests become cheaper under load."""
        if self.shape is Shape.CONCAVE or self.idle >= limit_cores:
            return None
        if self.shape is Shape.LINEAR:
            return (limit_cores - self.idle) / self.linear
        roots = np.roots([self.quadratic, self.linear, self.idle - limit_cores])
        positive = roots.real[(np.abs(roots.imag) < 1e-12) & (roots.real > 0)]
        return float(positive.min()) if positive.size else None


def fit_demand(points: Sequence[CpuPoint]) -> ServiceDemand | str:
    """Weighted least squares of cores on the rate; a sentence when the fit is physically impossible.

    Weights are seconds/cores²: windows err in proportion to what they show. With 24 windows and more the
    errors are robust to autocorrelation (Newey and West 1987).
    """
    used = [point for point in points if point.seconds > 0]
    if len(used) < 3:
        return f"CPU was seen in {len(used)} windows; a line needs 3"
    rate = np.array([point.rate for point in used])
    cores = np.array([point.cores for point in used])
    seconds = np.array([point.seconds for point in used])
    top = float(rate.max())
    if top <= 0 or rate.min() > 0.8 * top:
        return f"CPU was seen at one load only ({rate.min():.3g} to {top:.3g} req/s)"
    if cores.max() <= 0:
        return "the model used no CPU"
    z = rate / top
    weight = seconds / np.maximum(cores, 0.05 * cores.max()) ** 2
    shape, coefficients, error = Shape.LINEAR, np.zeros(0), 0.0
    if len(used) >= _FEWEST_FOR_A_CURVE:
        shape, coefficients, error = _curved(z, cores, weight)
    if shape is Shape.LINEAR:
        coefficients, error = _line(z, cores, weight)
    idle, linear, quadratic = (float(c) for c in coefficients)
    if linear + 2 * quadratic <= 0 or linear <= 0:
        return f"CPU does not grow with load ({cores.max():.3g} cores at most)"
    return ServiceDemand(
        idle=max(idle, 0.0),
        linear=linear / top,
        quadratic=quadratic / top**2,
        shape=shape,
        error=error,
        top_rate=top,
        top_cores=float(cores[int(np.argmax(rate))]),
        points=len(used),
    )


def _wls(design: np.ndarray, cores: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and their standard errors."""
    from statsmodels.regression.linear_model import WLS

    model = WLS(cores, design, weights=weight)
    if len(cores) >= _SERIES:
        lags = int(4 * (len(cores) / 100) ** (2 / 9))
        fit = model.fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    else:
        fit = model.fit()
    return np.asarray(fit.params), np.asarray(fit.bse)


def _line(z: np.ndarray, cores: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    params, errors = _wls(np.column_stack([np.ones_like(z), z]), cores, weight)
    if params[0] < 0:  # less than no CPU when idle: through the origin
        params, errors = _wls(z[:, None], cores, weight)
        params, errors = np.array([0.0, params[0]]), np.array([0.0, errors[0]])
    relative = float(errors[1] / params[1]) if params[1] > 0 else float("inf")
    return np.array([params[0], params[1], 0.0]), relative


def _curved(z: np.ndarray, cores: np.ndarray, weight: np.ndarray) -> tuple[Shape, np.ndarray, float]:
    from scipy import stats

    params, errors = _wls(np.column_stack([np.ones_like(z), z, z * z]), cores, weight)
    growth = params[1] + params[2]
    if growth <= 0 or errors[2] <= 0:
        return Shape.LINEAR, params, 0.0
    t, share = params[2] / errors[2], params[2] / growth
    sure = float(stats.t.ppf(_CURVED, len(z) - 3))
    relative = float(errors[1] / abs(params[1])) if params[1] else float("inf")
    if t > sure and share > _CONVEX_SHARE and params[1] > 0:
        return Shape.CONVEX, params, relative
    if t < -sure and share < _CONCAVE_SHARE:
        return Shape.CONCAVE, params, relative
    return Shape.LINEAR, params, relative
