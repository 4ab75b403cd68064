"""Intervals from few held-out days: what was seen over what was forecast, as factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from advisor.domain import Floats

_FEWEST = 4  # days from which a spread is estimated
_TRIMMED = 8  # days from which one may be a holiday or an incident, and is left out
_SIDE = 0.95  # of a two-sided 90 % interval
_SMALLEST = 0.01
_RESEMBLING = 1.2  # neighbouring days are alike, so that so many show less than independent ones
_FARTHEST = math.log(4.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """A 90 % interval of seen ÷ forecast, and its middle."""

    low: float
    middle: float
    high: float

    @classmethod
    def of_points(cls, log_ratios: Floats, days: int) -> Spread:
        """Quantiles of many points of `days` days, as much wider as Student's t is for so few days."""
        low, high = (
            min(float(np.quantile(log_ratios, 0.05)), 0.0),
            max(float(np.quantile(log_ratios, 0.95)), 0.0),
        )
        wider = min(_student(max(days, 2)) / float(stats.norm.ppf(_SIDE)), 2.0)
        return cls(math.exp(low * wider), 1.0, math.exp(high * wider))


def spread(log_ratios: Sequence[float], known: Spread) -> Spread:
    """Student's prediction interval for one more ratio; with fewer than 4 one twice as wide as `known`.

    From 8 on the one farthest from the median is left out: the day after a holiday is a usual day.
    """
    values = np.asarray(log_ratios)
    if values.size < _FEWEST:
        middle = math.exp(float(np.median(values))) if values.size else known.middle
        low, high = (known.low / known.middle) ** 2, (known.high / known.middle) ** 2
        return Spread(middle * low, middle, middle * high)
    if values.size >= _TRIMMED:
        values = np.delete(values, int(np.abs(values - np.median(values)).argmax()))
    middle, width = float(values.mean()), max(float(values.std(ddof=1)), _SMALLEST)
    side = min(_student(values.size) * width, _FARTHEST)
    return Spread(math.exp(middle - side), math.exp(middle), math.exp(middle + side))


def _student(days: int) -> float:
    """Standard deviations to either side of the mean of `days` that hold one more with 90 %."""
    return _RESEMBLING * float(stats.t.ppf(_SIDE, days - 1)) * math.sqrt(1.0 + 1.0 / days)
