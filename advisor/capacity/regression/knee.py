"""Across the knee: where the measured quantile crosses its bound, by isotonic and binomial regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.capacity.regression.points import LoadPoint

LEAST_DISPERSION = 2.0  # neighbouring requests share the queue: violations come in clusters


@dataclass(frozen=True, slots=True)
class Bracket:
    """`low`: the highest rate that held the bound, `high`: the lowest that did not; `crossing` in between."""

    low: float
    high: float
    crossing: float
    requests: float  # in the stages at both ends


@dataclass(frozen=True, slots=True)
class Violations:
    """The rate at which the share of failures reaches the allowed one, with the SE of its logarithm."""

    rate: float
    error: float
    dispersion: float


def isotonic_bracket(points: Sequence[LoadPoint], seconds: float) -> Bracket | None:
    """Monotone regression of ln quantile on the rate (pool adjacent violators); None without a crossing."""
    from scipy.optimize import isotonic_regression

    loaded = sorted((point for point in points if point.rate > 0), key=lambda point: point.rate)
    if len(loaded) < 2:
        return None
    rate = np.array([point.rate for point in loaded])
    answered = np.array([point.answered for point in loaded])
    fit = isotonic_regression([np.log(point.quantile) for point in loaded], weights=answered).x
    over = np.flatnonzero(fit > np.log(seconds))
    if over.size == 0 or over[0] == 0:
        return None
    j = int(over[0])
    share = (np.log(seconds) - fit[j - 1]) / (fit[j] - fit[j - 1])
    crossing = float(rate[j - 1] + share * (rate[j] - rate[j - 1]))
    return Bracket(float(rate[j - 1]), float(rate[j]), crossing, float(answered[j - 1] + answered[j]))


def fit_violations(
    rates: Sequence[float], bad: Sequence[float], total: Sequence[float], allowed: float
) -> Violations | None:
    """Binomial GLM of bad/total on ln rate, Pearson's dispersion but at least 2; None without a rising slope.

    The standard error is the delta method's on ln rate = (logit(allowed) − β₀)/β₁.
    """
    from statsmodels.genmod import families
    from statsmodels.genmod.generalized_linear_model import GLM

    x, k, n = (np.asarray(values, dtype=float) for values in (rates, bad, total))
    if len(x) < 2 or k.sum() < 3 or np.ptp(x) <= 0 or (n <= 0).any() or (x <= 0).any():
        return None
    design = np.column_stack([np.ones_like(x), np.log(x)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation and overflow end as a slope that is not finite
        try:
            fit = GLM(np.column_stack([k, n - k]), design, family=families.Binomial()).fit(
                scale="X2" if len(x) > 2 else 1.0
            )
        except (ValueError, np.linalg.LinAlgError):
            return None
        intercept, slope = (float(value) for value in fit.params)
        scale = float(fit.scale)
        covariance = np.asarray(fit.normalized_cov_params)
    if not np.isfinite([intercept, slope, scale]).all() or slope <= 0:
        return None
    dispersion = max(scale, LEAST_DISPERSION)
    log_rate = (np.log(allowed / (1.0 - allowed)) - intercept) / slope
    gradient = np.array([-1.0, -log_rate]) / slope
    variance = float(gradient @ covariance @ gradient) * dispersion
    if not np.isfinite(log_rate) or not np.isfinite(variance) or abs(log_rate) > 50:
        return None
    return Violations(float(np.exp(log_rate)), float(np.sqrt(variance)), dispersion)
