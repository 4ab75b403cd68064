"""Ways to continue a demand series on a regular grid: each takes the past and gives the next values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from advisor.domain import Floats

_WEEKS = 4  # of which the median week is taken


@dataclass(frozen=True, slots=True)
class Method:
    """`needs`: steps of history below which it is not tried; `name`: for people."""

    name: str
    needs: int
    forecast: Callable[[Floats, int], Floats]


def methods(day: int) -> tuple[Method, ...]:
    """All of them, for a grid with `day` steps a day, the simplest first."""
    week = 7 * day
    return (
        Method("the same time of the day before", day, lambda past, horizon: repeated(past, horizon, day)),
        Method(
            "daily exponential smoothing", 3 * day, lambda past, horizon: holt_winters(past, horizon, day)
        ),
        Method("the same time of the week before", week, lambda past, horizon: repeated(past, horizon, week)),
        Method(
            "the median of the last weeks", 3 * week, lambda past, horizon: median_week(past, horizon, week)
        ),
        Method(
            "daily and weekly decomposition (MSTL)",
            2 * week + 1,
            lambda past, horizon: decomposed(past, horizon, day, week),
        ),
    )


def repeated(past: Floats, horizon: int, season: int) -> Floats:
    """Seasonal naive: the last season again."""
    return np.resize(past[-season:], horizon)


def median_week(past: Floats, horizon: int, week: int) -> Floats:
    """Each time of the week at its median over up to four weeks, at the level of the last week.

    A holiday among them does not count.
    """
    weeks = min(past.size // week, _WEEKS)
    usual = np.median(past[-weeks * week :].reshape(weeks, week), axis=0)
    ratio = np.median(past[-week:]) / max(float(np.median(usual)), 1e-12)
    return np.resize(usual * min(max(float(ratio), 0.5), 2.0), horizon)


def holt_winters(past: Floats, horizon: int, season: int) -> Floats:
    """Exponential smoothing of level and additive daily season (Holt and Winters), on two weeks at most."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    used = past[-14 * season :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a start that does not converge loses the comparison of errors
        fit = ExponentialSmoothing(
            used, seasonal="add", seasonal_periods=season, initialization_method="heuristic"
        ).fit(optimized=True)
        return np.asarray(fit.forecast(horizon), dtype=float)


def decomposed(past: Floats, horizon: int, day: int, week: int) -> Floats:
    """MSTL (Bandara, Hyndman and Bergmeir 2021): both seasons repeated on an exponentially smoothed level."""
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing
    from statsmodels.tsa.seasonal import MSTL

    jumps = {"seasonal_jump": max(day // 8, 1), "trend_jump": day, "low_pass_jump": max(day // 8, 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = MSTL(past, periods=(day, week), stl_kwargs=jumps).fit()
        seasonal = np.asarray(parts.seasonal).reshape(past.size, -1)
        level = SimpleExpSmoothing(past - seasonal.sum(axis=1), initialization_method="heuristic").fit()
        base = np.asarray(level.forecast(horizon), dtype=float)
    daily = np.resize(seasonal[-day:, 0], horizon)
    weekly = np.resize(seasonal[-week:, 1], horizon)
    return base + daily + weekly
