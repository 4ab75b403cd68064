"""A slope with an error that holds for series whose neighbours are alike."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

from advisor.domain import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Trend:
    """`slope` in units of y a unit of x, its 95 % interval, and the level of the fit at the end of x."""

    slope: float
    low: float
    high: float
    t: float
    end_level: float


def newey_west_lags(n: int) -> int:
    """Truncation ⌊4 (n/100)^(2/9)⌋, the usual rule (Newey and West 1994), at least 1."""
    return max(int(4 * (n / 100) ** (2 / 9)), 1)


def trend(x: Floats, y: Floats, lags: int | None = None) -> Trend | None:
    """OLS of y on x with Newey-West (HAC) errors; None below 8 points or without spread in x."""
    import statsmodels.api as sm

    if x.size < 8 or float(np.ptp(x)) == 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a perfect line divides by a zero error
        fit = sm.OLS(y, sm.add_constant(x - x[-1])).fit(
            cov_type="HAC",
            cov_kwds={"maxlags": lags or newey_west_lags(x.size), "use_correction": True},
            use_t=True,
        )
    slope, error = float(fit.params[1]), float(fit.bse[1])
    width = error * float(stats.t.ppf(0.5 + CONFIDENCE / 2, x.size - 2))
    t = slope / error if error > 0 else float(np.sign(slope)) * 1e6
    return Trend(slope, slope - width, slope + width, t, float(fit.params[0]))
