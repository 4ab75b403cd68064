"""Several windows as one: of replicas side by side, or of one replica one after another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from advisor.domain import Histogram, Window


def together(windows: Sequence[Window]) -> Window | None:
    """Windows of several replicas over about the same time, summed. What one replica lacks is not known of
    all.

    Ratios (GPU utilisation, cache) are averaged. None without windows.
    """
    if not windows:
        return None
    if len(windows) == 1:
        return windows[0]

    def total(pick: Callable[[Window], float | None]) -> float | None:
        return _sum([pick(w) for w in windows])

    gpu = total(lambda w: w.gpu_utilization)
    cache = total(lambda w: w.kv_cache)
    return Window(
        start=min(w.start for w in windows),
        end=max(w.end for w in windows),
        requests=_requests(windows),
        latency=merged([w.latency for w in windows]),
        queue=merged([w.queue for w in windows]),
        in_flight=total(lambda w: w.in_flight),
        queue_depth=total(lambda w: w.queue_depth),
        cpu_cores=total(lambda w: w.cpu_cores),
        cpu_limit_cores=total(lambda w: w.cpu_limit_cores),
        cpu_throttled_seconds=total(lambda w: w.cpu_throttled_seconds),
        memory_bytes=total(lambda w: w.memory_bytes),
        memory_limit_bytes=total(lambda w: w.memory_limit_bytes),
        gpu_utilization=None if gpu is None else gpu / len(windows),
        gpu_memory_bytes=total(lambda w: w.gpu_memory_bytes),
        gpu_memory_limit_bytes=total(lambda w: w.gpu_memory_limit_bytes),
        kv_cache=None if cache is None else cache / len(windows),
        replicas=sum(w.replicas for w in windows),
        source=", ".join(dict.fromkeys(w.source for w in windows if w.source)),
    )


def in_sequence(windows: Sequence[Window]) -> Window | None:
    """Windows of the same replicas that follow one another, as one: counts add, means are weighted by time.

    Memory, limits and GPU utilisation: the highest, the last and the mean. None without windows.
    """
    if not windows:
        return None
    ordered = sorted(windows, key=lambda w: w.start)

    def mean(pick: Callable[[Window], float | None]) -> float | None:
        pairs = [(pick(w), w.seconds) for w in ordered]
        known = [(value, seconds) for value, seconds in pairs if value is not None]
        weight = sum(seconds for _, seconds in known)
        return sum(value * seconds for value, seconds in known) / weight if weight > 0 else None

    def last(pick: Callable[[Window], float | None]) -> float | None:
        return next((value for w in reversed(ordered) if (value := pick(w)) is not None), None)

    return Window(
        start=ordered[0].start,
        end=ordered[-1].end,
        requests=_requests(ordered),
        latency=merged([w.latency for w in ordered]),
        queue=merged([w.queue for w in ordered]),
        in_flight=mean(lambda w: w.in_flight),
        queue_depth=mean(lambda w: w.queue_depth),
        cpu_cores=mean(lambda w: w.cpu_cores),
        cpu_limit_cores=last(lambda w: w.cpu_limit_cores),
        cpu_throttled_seconds=_sum([w.cpu_throttled_seconds for w in ordered]),
        memory_bytes=max((w.memory_bytes for w in ordered if w.memory_bytes is not None), default=None),
        memory_limit_bytes=last(lambda w: w.memory_limit_bytes),
        gpu_utilization=mean(lambda w: w.gpu_utilization),
        gpu_memory_bytes=max(
            (w.gpu_memory_bytes for w in ordered if w.gpu_memory_bytes is not None), default=None
        ),
        gpu_memory_limit_bytes=last(lambda w: w.gpu_memory_limit_bytes),
        kv_cache=mean(lambda w: w.kv_cache),
        replicas=ordered[-1].replicas,
        source=ordered[-1].source,
    )


def merged(histograms: Sequence[Histogram | None]) -> Histogram | None:
    """One histogram on the bounds that all of them share; None when one is not known or they share none."""
    known = [h for h in histograms if h is not None]
    if not known or len(known) < len(histograms):
        return None
    shared = known[0].bounds
    if all(h.bounds is shared for h in known):  # of one reading, or of one packed hour
        return Histogram(shared, np.sum([h.counts for h in known], axis=0))
    for h in known[1:]:
        shared = np.intersect1d(shared, h.bounds)
    if not shared.size:
        return None
    counts = np.zeros(shared.size + 1)
    for h in known:
        cumulative = np.cumsum(h.counts)
        at_shared = cumulative[np.searchsorted(h.bounds, shared)]
        counts += np.diff(at_shared, prepend=0.0, append=cumulative[-1])
    return Histogram(shared, counts)


def _requests(windows: Sequence[Window]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for window in windows:
        for outcome, count in window.requests.items():
            found[outcome] += count
    return dict(found)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
