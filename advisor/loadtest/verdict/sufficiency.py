"""Are there enough requests to tell? And how many more would?"""

from __future__ import annotations

import math

from scipy import stats

from advisor.domain import Capacity
from advisor.loadtest.verdict.direct import CONFIDENCE, Direct, Evidence
from advisor.loadtest.verdict.rule import Objection, inconclusive
from advisor.units import format_rate

MOST = 10_000_000


def enough(requests: float, over: float, quantile: float, confidence: float = CONFIDENCE) -> bool:
    """Do `over` slow ones among `requests` show that at most 1 − quantile of all are slow?

    MLPerf LoadGen's early stopping: P(Binomial(requests, 1 − quantile) ≤ over) ≤ 1 − confidence. Without a
    slow one it takes 44 requests for p90, 90 for p95, 459 for p99, 4 603 for p99.9 at 0.99.
    """
    return float(stats.binom.cdf(math.floor(over), math.floor(requests), 1 - quantile)) <= 1 - confidence


def requests_needed(share: float, quantile: float, confidence: float = CONFIDENCE) -> int | None:
    """Independent requests until `enough`, if the observed share of slow ones stays; None when they never
    are.
    """
    if share >= 1 - quantile:
        return None
    high = 16
    while not enough(high, share * high, quantile, confidence):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle, share * middle, quantile, confidence) else (middle, high)
    return high


def more_needed(evidence: Evidence) -> int | None:
    """Further requests, as correlated as those seen, that would decide an undecided bound; None when it is
    too close.
    """
    if evidence.status is not Direct.UNDECIDED or not evidence.effective:
        return 0 if evidence.effective else None
    needed = requests_needed(evidence.share, 1 - evidence.allowed)
    if needed is None:
        return None
    return max(math.ceil(needed * evidence.requests / evidence.effective) - evidence.requests, 1)


def undecided(stage: str, rps: float, evidence: Evidence) -> Objection | None:
    """A stage that was meant to show whether the objective holds, and does not."""
    if evidence.status is not Direct.UNDECIDED:
        return None
    more = more_needed(evidence)
    settle = (
        f"needs {spaced(more)} more requests near {format_rate(rps)}"
        if more
        else "too close to call at this rate"
    )
    return inconclusive(f"'{stage}': {evidence.sentence()}; {settle}")


def interval_width(capacity: Capacity, near: int, precision: float) -> Objection | None:
    """The calibrated interval is at most ± `precision`; a standard error falls with the root of the requests.

    `near`: requests within 20 % of the capacity so far.
    """
    low, high = capacity.interval
    half = math.log(high / low) / 2 if low > 0 else math.inf
    if half <= 1.05 * precision:
        return None
    if not math.isfinite(half):
        return inconclusive("the interval of the capacity has no lower end")
    known = f"the capacity is known to ± {half * 100:.0f} %, asked are ± {precision * 100:.0f} %"
    if capacity.disturbance is not None:
        share = capacity.disturbance.share * 100
        return inconclusive(
            f"{known}: the machine itself was disturbed {share:.0f} % of the time; repeat it on a quieter one"
        )
    more = max(math.ceil(max(near, 100) * ((half / precision) ** 2 - 1)), 1)
    return inconclusive(f"{known}: needs {spaced(more)} more requests near {format_rate(capacity.rps)}")


def spaced(count: int) -> str:
    """`1 800`."""
    return f"{count:,}".replace(",", " ")
