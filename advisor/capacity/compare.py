"""Two capacities of one target, such as those of two versions: did it change, and by how much? Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from advisor.domain import Capacity

CONFIDENCE = 0.90  # two-sided, of the ratio
MAX_REGRESSION = 0.10


class Change(StrEnum):
    """Of the candidate against the baseline."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratio` is candidate over baseline, with its interval; `why` is one sentence with the numbers."""

    status: Change
    ratio: float
    interval: tuple[float, float]
    confidence: float
    max_regression: float
    why: str


def compare(
    baseline: Capacity,
    candidate: Capacity,
    *,
    max_regression: float = MAX_REGRESSION,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """A regression is a loss of more than `max_regression` whose interval excludes "no loss".

    With b = −ln(1 − max_regression), r = ln(candidate / baseline) and its interval (L, U), both about 1 − α:

    - regressed: r < −b and U < 0, the change and its interval agree; without a change in at most α/2;
    - improved: r > b and L > 0;
    - same: L > −2b, a loss of twice what is allowed (19 % for 10 %) is excluded; with such a loss in at
      most α/2. Between the two lies the indifference zone that every sequential test has (Wald 1945);
    - inconclusive: all else. Thin evidence does not pass.

    L and U combine both intervals by the square-and-add method (MOVER: Zou and Donner 2008, "Construction
    of confidence limits about effect measures: a general approach", Statistics in Medicine 27, 1693), on
    logarithms and without taking either interval as symmetric:
    L = r − √((a − l_a)² + (u_b − b)²), U = r + √((u_a − a)² + (b − l_b)²). The errors are taken as
    independent; what both measurements have in common makes the interval too wide, never too narrow.

    Both must be of the same objective, requests and shape of replica: `gate` sees to that.

    Raises:
        ValueError: `max_regression` or `confidence` is not between 0 and 1.
    """
    if not 0 < max_regression < 1 or not 0 < confidence < 1:
        raise ValueError(f"shares must lie between 0 and 1, found {max_regression:g} and {confidence:g}")
    old_down, old_up = _distances(baseline, confidence)
    new_down, new_up = _distances(candidate, confidence)
    middle = math.log(candidate.rps / baseline.rps)
    low, high = middle - math.hypot(new_down, old_up), middle + math.hypot(new_up, old_down)
    border = -math.log1p(-max_regression)
    if middle < -border and high < 0:
        status = Change.REGRESSED
    elif middle > border and low > 0:
        status = Change.IMPROVED
    elif low > -2 * border:
        status = Change.SAME
    else:
        status = Change.INCONCLUSIVE
    interval = (math.exp(low), math.exp(high))
    why = (
        f"{candidate.rps:.4g} against {baseline.rps:.4g} req/s: {_change(math.exp(middle))} "
        f"({_change(interval[0])} to {_change(interval[1])}, {confidence:.0%})"
    )
    why += _verdict(status, max_regression, middle, low, high, border)
    return Comparison(status, math.exp(middle), interval, confidence, max_regression, why)


def _distances(capacity: Capacity, confidence: float) -> tuple[float, float]:
    """From ln rps down and up to the ends of its interval, as they would be at `confidence`."""
    scale = _z(confidence) / _z(capacity.confidence)
    low, high = capacity.interval
    down = math.log(capacity.rps / low) if low > 0 else math.inf
    return scale * max(0.0, down), scale * max(0.0, math.log(high / capacity.rps))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _verdict(
    status: Change, max_regression: float, middle: float, low: float, high: float, border: float
) -> str:
    allowed = f"{100 * max_regression:.3g} %"
    if status is Change.REGRESSED:
        return f"; a loss of {allowed} is allowed"
    if status is not Change.INCONCLUSIVE:
        return ""
    if middle < -border:  # a standard error falls with the root of the requests
        times, told = (high - middle) / -middle, "a loss that may be chance"
    else:
        times, told = (middle - low) / (middle + 2 * border), f"a loss beyond {allowed} is not excluded"
    if not math.isfinite(times):
        return f"; {told}: one of the capacities has no lower end"
    return f"; {told}: about {max(1.1, times**2):.2g} times the requests in both runs would tell"
