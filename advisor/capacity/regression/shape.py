"""Curves for servers whose requests become cheaper or dearer under load: no hyperbola holds for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from advisor.capacity.regression.points import LoadPoint
from advisor.domain import Floats

_NOTHING = 1e-9  # of the largest coefficient: a leading one below it only blurs the roots


def inverse_root(points: Sequence[LoadPoint], seconds: float, degree: int) -> float | None:
    """The rate at which 1/quantile ~ polynomial(rate) falls to 1/seconds; weights answers × quantile²."""
    if len(points) <= degree:
        return None
    rate, quantile, count = _columns(points)
    top = rate.max()
    if top <= 0:  # an idle server alone has no curve
        return None
    coefficients = _weighted_polynomial(rate / top, 1.0 / quantile, count * quantile**2, degree)
    coefficients[0] -= 1.0 / seconds
    root = _first_fall(coefficients)
    return None if root is None else float(root * top)


def in_flight_root(points: Sequence[LoadPoint], seconds: float) -> tuple[float, float] | None:
    """(requests in flight, rate) where the quantile reaches `seconds`; quantile and mean ~ 1 + N + N².

    In flight is what a server with slots or batches answers to; the rate follows by Little's law.
    """
    loaded = [point for point in points if point.rate > 0]
    if len(loaded) < 3:
        return None
    rate, quantile, count = _columns(loaded)
    mean = np.array([point.mean for point in loaded])
    held = rate * mean
    top = held.max()
    curve = _weighted_polynomial(held / top, quantile, count / quantile**2, 2)
    curve[0] -= seconds
    root = _first_fall(-curve)
    if root is None:
        return None
    mean_curve = _weighted_polynomial(held / top, mean, count / mean**2, 2)
    latency = float(np.polynomial.polynomial.polyval(root, mean_curve))
    if latency <= 0:
        return None
    return float(root * top), float(root * top / latency)


def _columns(points: Sequence[LoadPoint]) -> tuple[Floats, Floats, Floats]:
    return (
        np.array([point.rate for point in points]),
        np.array([point.quantile for point in points]),
        np.array([point.answered for point in points]),
    )


def _weighted_polynomial(x: Floats, y: Floats, weight: Floats, degree: int) -> Floats:
    """Coefficients, constant first."""
    root = np.sqrt(weight)
    design = np.vander(x, degree + 1, increasing=True) * root[:, None]
    return np.asarray(np.linalg.lstsq(design, y * root, rcond=None)[0])


def _first_fall(coefficients: Floats) -> float | None:
    """The smallest x in (0, 3] at which the polynomial falls through zero."""
    if coefficients[0] <= 0:
        return None
    kept = np.abs(coefficients) > _NOTHING * np.abs(coefficients).max()
    roots = np.polynomial.polynomial.polyroots(coefficients[: int(np.flatnonzero(kept)[-1]) + 1])
    real = roots.real[np.abs(roots.imag) < 1e-9]
    inside = real[(real > 0) & (real <= 3.0)]
    return float(inside.min()) if inside.size else None
