"""Dynamic batching: seen directly, as groups of requests that complete together in the order of their
arrival.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.capacity.identification.model import Batching
from advisor.capacity.identification.timeline import Timeline
from advisor.domain import Floats, Ints

_LARGEST = 512
_DELAYS = 46
_FEW_TIES = 0.004  # share of completions together with the one before, below which nothing is batched
_BEYOND_CHANCE = 5.0  # times as many as independent completions would have
_BEFORE = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45)  # of the least latency: constant times before a batcher
_WORST = 0.7  # badness above which it is no batcher
_SAME_SIZE = 25  # batches wanted to know the durations of one size
_FEW_BACKLOGS = 10  # batches that started while others waited, below which nothing is said of them
_LEFT_BEHIND = 0.4  # share of those with room left, from which it is no batcher


@dataclass(frozen=True, slots=True)
class BatchingFit:
    """The batcher, the seconds that requests spend before it, and `spread`, the robust ln deviation of
    its batches' durations.
    """

    batching: Batching
    before: float
    spread: float
    batches: int


@dataclass(frozen=True, slots=True)
class _Groups:
    """Batches in order: `size`, arrival of the first, arrival of the last, `end`; previous end in
    `before`.
    """

    size: Ints
    head: Floats
    last: Floats
    end: Floats
    before: Floats


def fit_batching(timeline: Timeline) -> BatchingFit | None:
    """The batcher that explains the log, or None when requests do not complete in groups.

    Where it does so only after a constant time before it (preprocessing), that is its `before`.
    """
    least = float(np.quantile(timeline.latency, 0.02))
    for share in _BEFORE:
        best = _best(timeline, share * least, least)
        if best is not None:
            break
    else:
        return None
    base, each = max(float(best.line[0]), 1e-9), max(float(best.line[1]), 1e-9)
    order = np.argsort(best.size, kind="stable")
    durations, first, last = _by_size(best.seconds[order], best.size[order], best.largest, base, each)
    wait = best.wait
    batching = Batching(best.largest, wait.delay, base, each, durations, first, last, wait.when_free)
    return BatchingFit(batching, share * least, best.badness, best.size.size)


def _best(timeline: Timeline, before: float, least: float) -> _Durations | None:
    """The least bad batcher over how near completions must be to be one batch, and over its own waiting."""
    median = float(np.median(timeline.latency))
    best: _Durations | None = None
    for together in (1e-6 + 0.002 * median, 2e-4 + 0.02 * median, min(1e-3 + 0.03 * median, 3e-3)):
        groups = _groups(timeline, together, before)
        if groups is None:
            continue
        delays = np.linspace(0.0, 0.9 * (least - before), _DELAYS if before == 0 else _DELAYS // 4)
        waits = [_Wait(float(delay), when_free=False) for delay in delays]
        waits += [_Wait(float(delay), when_free=True) for delay in delays[1:]]
        fits = [fit for fit in (_durations(groups, wait) for wait in waits) if fit is not None]
        fit = min(fits, key=lambda found: found.badness, default=None)
        if fit is None or fit.badness > _WORST or _leaves_behind(groups, fit):
            continue
        if best is None or fit.badness < best.badness:
            best = fit
    return best


@dataclass(frozen=True, slots=True)
class _Wait:
    """`delay` s for more, since the first one came; with `when_free`, also since the last batch ended."""

    delay: float
    when_free: bool


@dataclass(frozen=True, slots=True)
class _Durations:
    """Batches of at most `largest` that `wait`: sizes, seconds (outliers clipped), line (base, each)."""

    badness: float
    largest: int
    wait: _Wait
    line: Floats
    size: Ints
    seconds: Floats


def _groups(timeline: Timeline, together: float, before: float) -> _Groups | None:
    """Completions closer than `together` (s) are one batch; None when they are rare or not
    first-in-first-out.
    """
    order = np.argsort(timeline.departure, kind="stable")
    ends = timeline.departure[order]
    group = np.concatenate([[0], np.cumsum(np.diff(ends) > together)])
    count = int(group[-1]) + 1
    tied = 1.0 - count / len(timeline)
    by_chance = together * len(timeline) / float(ends[-1] - ends[0])
    if tied < min(max(_FEW_TIES, _BEYOND_CHANCE * by_chance), 0.4):
        return None
    of_request = np.empty(len(timeline), np.int64)
    of_request[order] = group
    if float((np.diff(of_request) >= 0).mean()) < (0.995 if tied < 0.15 else 0.97):
        return None
    size = np.bincount(group)
    edges = np.concatenate([[0], np.cumsum(size)])
    end = ends[(edges[:-1] + edges[1:] - 1) // 2]
    return _Groups(
        size=size,
        head=timeline.arrival[edges[:-1]] + before,
        last=timeline.arrival[edges[1:] - 1] + before,
        end=end,
        before=np.concatenate([[-1e9], end[:-1]]),
    )


def _starts(groups: _Groups, largest: int, wait: _Wait) -> Floats:
    """When each batch starts (s): the last has ended, and it is full or has waited."""
    free = np.maximum(groups.before, groups.head)
    full = np.where(groups.size >= largest, groups.last, np.inf)
    patience = (free if wait.when_free else groups.head) + wait.delay
    return np.maximum(free, np.minimum(full, patience))


def _durations(groups: _Groups, wait: _Wait) -> _Durations | None:
    """The batches' durations if they start as told: a line in their size, robust and in relative errors.

    Badness: robust ln deviation from the line, plus half the share of batches that hold a request which
    came after their start, plus 2 % of the plain deviation.
    """
    counts = np.bincount(groups.size)
    largest = int(np.flatnonzero(counts >= min(2, counts[1:].max())).max())
    if not 2 <= largest <= _LARGEST:
        return None
    start = _starts(groups, largest, wait)
    late = float((groups.last > start + 1e-9).mean())
    duration = groups.end - start
    if float((duration <= 0).mean()) > 0.05 or late > 0.05:
        return None
    usable = duration > 0
    usable &= (duration > 0.4 * np.median(duration[usable])) & (groups.size <= largest)
    if np.count_nonzero(usable) < 8:
        return None
    size, observed = groups.size[usable], duration[usable]
    design = np.column_stack([np.ones(size.size), size])
    weight = np.ones(size.size)
    for _ in range(3):
        line = np.linalg.lstsq(design * (weight / observed)[:, None], weight, rcond=None)[0].astype(
            np.float64
        )
        modelled: Floats = design @ line
        if (modelled <= 0).any():
            return None
        off = np.log(observed / modelled)
        deviation = float(np.median(np.abs(off - np.median(off))))
        weight = 1.0 / np.sqrt(1.0 + (off / (3.0 * max(deviation, 0.003))) ** 2)
    badness = 1.48 * deviation + 0.5 * late + 0.02 * min(float(off.std()), 1.0)
    seconds = np.clip(observed / modelled, 0.3, 5.0) * modelled
    return _Durations(badness, largest, wait, line, size, seconds)


def _leaves_behind(groups: _Groups, fit: _Durations) -> bool:
    """Whether batches start with room while requests wait: answers that merely clump, not a batcher."""
    start = _starts(groups, fit.largest, fit.wait)
    margin = max(2e-3, 0.1 * float(np.median(groups.end - start)))
    backlog = groups.head[1:] < start[:-1] - margin
    if np.count_nonzero(backlog) < _FEW_BACKLOGS:
        return False
    return float((groups.size[:-1][backlog] < fit.largest).mean()) > _LEFT_BEHIND


def _by_size(
    durations: Floats, size: Ints, largest: int, base: float, each: float
) -> tuple[Floats, Ints, Ints]:
    """Durations (sorted by size) and for every size 0..largest the slice of those of about that size.

    Where a size was seen too rarely, its neighbours' durations are taken, scaled along the line.
    """
    parts: list[Floats] = []
    first = np.zeros(largest + 1, np.int64)
    last = np.zeros(largest + 1, np.int64)
    filled = 0
    for k in range(largest + 1):
        low = high = k
        reach = 0
        while True:
            low = int(np.searchsorted(size, k - reach, "left"))
            high = int(np.searchsorted(size, k + reach, "right"))
            if high - low >= min(_SAME_SIZE, size.size) or reach > largest:
                break
            reach += 1
        scale = (base + each * k) / (base + each * size[low:high])
        parts.append(durations[low:high] * scale)
        first[k], last[k] = filled, filled + high - low
        filled += high - low
    return np.concatenate(parts), first, last
