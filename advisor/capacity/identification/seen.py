"""What the log shows by itself, without any model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from advisor.capacity.identification.replay import Span
from advisor.capacity.identification.timeline import Timeline
from advisor.domain import Floats, Outcome, RequestLog, Slo

_FEW_REJECTIONS = 3
_ALONE = 0.2  # of the rejections


def queue_limit(timeline: Timeline) -> int | None:
    """Requests present when others were turned away: a low quantile, as a client sees a few more than
    there are.
    """
    if timeline.rejected.size < _FEW_REJECTIONS:
        return None
    return max(int(np.round(np.quantile(timeline.rejected_at, 0.2))), 1)


def odd_rejections(timeline: Timeline, limit: int | None) -> str | None:
    """Why the rejections are not those of a full queue: nobody was there, or others were taken in while more
    were.
    """
    if limit is None:
        return None
    alone = int(np.count_nonzero(timeline.rejected_at == 0))
    if alone > max(_ALONE * timeline.rejected.size, _FEW_REJECTIONS):
        return (
            f"{alone} of {timeline.rejected.size} requests that were turned away met no other: "
            "no full queue does that, a limit on the rate may."
        )
    crowded = limit + max(2, round(0.1 * limit))
    taken = int(np.count_nonzero(timeline.present[timeline.at_arrival] - 1 > crowded))
    turned_away = int(np.count_nonzero(timeline.rejected_at > crowded))
    if taken <= max(turned_away, _FEW_REJECTIONS):
        return None
    return (
        f"{timeline.rejected.size} requests were turned away, most with {limit} or more present, but {taken} "
        f"others were taken in with more than {crowded}: no full queue does that, a limit on the rate may."
    )


def error_share(log: RequestLog, timeline: Timeline) -> float:
    """Share of server errors among the answers to requests that met at most the median number of others."""
    failed = log.sent[log.outcome == Outcome.SERVER_ERROR]
    if not failed.size:
        return 0.0
    met = timeline.present[timeline.at_arrival]
    usual = float(np.median(met))
    index = np.minimum(np.searchsorted(timeline.arrival, failed), len(timeline) - 1)
    return float((met[index] <= usual).sum() / (met <= usual).sum())


def spans_between_idle(timeline: Timeline, parts: int = 6) -> list[Span]:
    """About `parts` spans with as many requests each, cut where the server was empty: traffic without
    stages.
    """
    idle = np.flatnonzero(timeline.present == 0)[:-1]
    if not idle.size:
        return [
            Span(
                float(timeline.time[0]),
                float(timeline.time[-1]),
                len(timeline) / float(np.ptp(timeline.time)),
            )
        ]
    done = np.searchsorted(timeline.arrival, timeline.time[idle], side="right")
    wanted = np.linspace(0, len(timeline), parts + 1)[1:-1]
    nearest = np.unique(np.clip(np.searchsorted(done, wanted), 0, idle.size - 1))
    opens = timeline.arrival[np.minimum(done[nearest], len(timeline) - 1)]
    edges = [float(timeline.arrival[0]), *map(float, np.unique(opens)), float(timeline.time[-1])]
    counts = np.diff(np.searchsorted(timeline.arrival, edges))
    return [
        Span(low, high, float(count) / (high - low))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if high > low
    ]


def top_rate(timeline: Timeline) -> float:
    """Highest arrival rate over 3 s (or 20 latencies without overload: the lowest tenth), req/s."""
    span = max(3.0, 20.0 * float(np.quantile(timeline.latency, 0.1)))
    inside = np.searchsorted(timeline.arrival, timeline.arrival + span) - np.arange(len(timeline))
    return float(inside.max() / span)


def highest_met(log: RequestLog, slo: Slo, spans: Sequence[Span]) -> float | None:
    """Highest offered rate of a span of 20 s and 400 requests that held the objective in both halves."""
    held = []
    for span in spans:
        inside = (log.sent >= span.start) & (log.sent < span.end)
        if span.end - span.start < 20 or np.count_nonzero(inside) < 400:
            continue
        half = 0.5 * (span.start + span.end)
        parts = [log.select(inside & (log.sent < half)), log.select(inside & (log.sent >= half))]
        if all(_holds(part, slo) for part in parts):
            held.append(float(np.count_nonzero(inside)) / (span.end - span.start))
    return max(held, default=None)


def _holds(log: RequestLog, slo: Slo) -> bool:
    failed = np.isin(log.outcome, (Outcome.SERVER_ERROR, Outcome.REJECTED, Outcome.TIMEOUT))
    if not len(log) or failed.mean() > slo.error_ratio:
        return False
    latency: Floats = log.latency[log.ok]
    return bool(latency.size) and all(
        float(np.quantile(latency, bound.quantile)) <= bound.seconds for bound in slo.latency
    )


def left_out(log: RequestLog) -> list[str]:
    """A warning when more than 1 % of the requests ended without the server's answer."""
    gone = np.isin(log.outcome, (Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.CONNECTION))
    if gone.mean() <= 0.01:
        return []
    sentence = (
        f"{np.count_nonzero(gone)} of {len(log)} requests ended without an answer (timeouts, cancelled, "
        "connections): nobody saw when the server was done with them, so identification leaves them out"
    )
    return [sentence]
