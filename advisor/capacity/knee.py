"""The knee of a fitted server: from there, load costs more latency than it brings throughput. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.domain import CurvePoint


def knee(curve: Sequence[CurvePoint]) -> float | None:
    """The rate (req/s) of the highest power λ / T̄(λ), T̄ the mean latency; None where the curve lacks it.

    Power, and its maximum as the right point of operation: Kleinrock 1979, "Power and deterministic rules of
    thumb for probabilistic problems in computer communications", ICC. Between the points of the curve the
    maximum is that of a parabola through the highest and its neighbours.
    """
    known = sorted((p.rate, p.rate / p.mean) for p in curve if p.rate > 0 and 0 < p.mean < math.inf)
    best = max(range(len(known)), key=lambda i: known[i][1], default=0)
    if not 0 < best < len(known) - 1:
        return None
    (x0, y0), (x1, y1), (x2, y2) = known[best - 1 : best + 2]
    left, right = (x1 - x0) * (y1 - y2), (x1 - x2) * (y1 - y0)
    if left == right:
        return x1
    return x1 - ((x1 - x0) * left - (x1 - x2) * right) / (2 * (left - right))
