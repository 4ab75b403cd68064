"""Two capacities of one target, such as those of two versions: did it change, and by how much?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from advisor.capacity.agreement import Z90
from advisor.domain import Capacity

NOTABLE = 0.05


class Change(StrEnum):
    """Of the new against the old. UNDECIDED: the intervals leave room for both."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratio` new/old − 1 with its 90 % interval; `why` is one sentence with the numbers."""

    change: Change
    ratio: float
    interval: tuple[float, float]
    why: str


def compare(old: Capacity, new: Capacity, notable: float = NOTABLE) -> Comparison:
    """A change counts only when it is notable and its 90 % interval excludes "none".

    The logarithms of both rates are taken as independent and normal, with the widths of their intervals. Both
    must be of the same objective and the same shape of replica: that is the caller's to see to.
    """
    middle = math.log(new.rps / old.rps)
    half = Z90 * math.hypot(_deviation(old), _deviation(new))
    low, high = middle - half, middle + half
    border = math.log1p(notable)
    if middle < -border and high < 0:
        change = Change.REGRESSED
    elif middle > border and low > 0:
        change = Change.IMPROVED
    elif low > -2 * border and high < 2 * border:
        change = Change.UNCHANGED
    else:
        change = Change.UNDECIDED
    ratio, interval = math.expm1(middle), (math.expm1(low), math.expm1(high))
    why = (
        f"{new.rps:.4g} against {old.rps:.4g} req/s: {ratio:+.1%} ({interval[0]:+.1%} to {interval[1]:+.1%})"
    )
    if change is Change.UNDECIDED:
        why += "; longer runs would tell"
    return Comparison(change, ratio, interval, why)


def _deviation(capacity: Capacity) -> float:
    """Standard deviation of ln rps from the 90 % interval."""
    low, high = capacity.interval
    return math.log(max(high, capacity.rps) / max(min(low, capacity.rps), 1e-9)) / (2 * Z90)
