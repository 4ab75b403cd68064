"""The client's view of a stage against the sidecar's: what differs arises between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from advisor.domain import Histogram, Slo, StageResult, Window
from advisor.loadtest.verdict.rule import Objection, inconclusive
from advisor.units import format_seconds

FEWEST = 200  # requests
OTHERS = 0.05  # share of foreign requests that is let pass


def _latency(windows: Sequence[Window]) -> Histogram | None:
    known = [w.latency for w in windows if w.latency is not None]
    if not known or any(not np.array_equal(h.bounds, known[0].bounds) for h in known):
        return None
    return Histogram(known[0].bounds, np.sum([h.counts for h in known], axis=0))


def foreign_load(result: StageResult) -> Objection | None:
    """The sidecar saw about as many requests as the generator sent; otherwise someone else loads the
    target.
    """
    seen = sum(sum(window.requests.values()) for window in result.windows)
    sent = len(result.log)
    if not seen or sent < FEWEST or seen <= (1 + OTHERS) * sent + 4 * math.sqrt(sent):
        return None
    return inconclusive(
        f"the sidecar saw {seen:.0f} requests in '{result.stage.name}' and the generator sent {sent}: "
        "someone else loads this replica; repeat the run without them"
    )


def outside_latency(result: StageResult, slo: Slo) -> Objection | None:
    """Median latency at the client less the median at the sidecar: network, load balancer, or the generator
    itself.

    A bucket's width is the sidecar's resolution, so only the excess over the bucket's upper bound counts;
    it matters above 2 ms and a tenth of the tightest bound.
    """
    histogram = _latency(result.windows)
    ok = result.log.ok
    if histogram is None or histogram.total < FEWEST or int(ok.sum()) < FEWEST:
        return None
    median = histogram.quantile(0.5)
    if median is None:
        return None
    upper = float(histogram.bounds[np.searchsorted(histogram.bounds, median)])
    client = float(np.median(result.log.latency[ok]))
    allowed = max(0.002, 0.1 * slo.tightest) if math.isfinite(slo.tightest) else 0.002
    if client - upper <= allowed:
        return None
    return inconclusive(
        f"{format_seconds(client - median)} of the median latency in '{result.stage.name}' arise outside the "
        f"model ({format_seconds(client)} at the client, {format_seconds(median)} at the sidecar): look at "
        "the network, the load balancer and the generator"
    )
