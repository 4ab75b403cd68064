"""What windows tell of a replica, and whether two runs were measured alike. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from advisor.domain import Run, StageResult, Window

_FEWEST = 5  # windows
_LEAST_USED = 0.02  # of the cache: below it the share of one request is lost in what is always there
_CORES = 0.05  # a limit that differs by less is the same


def cpu_limit(history: Sequence[StageResult]) -> float | None:
    """The container's CPU limit in cores, as the sidecar tells it."""
    limits = [w.cpu_limit_cores for stage in history for w in stage.windows if w.cpu_limit_cores]
    return median(limits) if limits else None


def engine_slots(windows: Sequence[Window]) -> int | None:
    """How many requests of the usual size an engine's cache holds at once, from windows of one replica.

    Usage grows with the requests in flight; the line through the origin is fitted by least squares where
    nobody waits. None where the engine does not tell its cache.
    """
    pairs = [
        (window.in_flight, window.kv_cache)
        for window in windows
        if window.in_flight and not window.queue_depth and (window.kv_cache or 0.0) >= _LEAST_USED
    ]
    if len(pairs) < _FEWEST:
        return None
    held, used = zip(*pairs, strict=True)
    slope = sum(h * u for h, u in pairs if u is not None) / sum(h * h for h in held)
    return max(round(1.0 / slope), 1) if max(u for u in used if u is not None) <= 1.0 else None


def differences(baseline: Run, candidate: Run) -> Iterator[str]:
    """A sentence for each condition that is known of both runs and differs: requests, the replica's CPU.

    The objective is not among them: a capacity can be computed for another one.
    """
    asked = [run.metadata.get("kinds") for run in (baseline, candidate)]
    if all(asked) and asked[0] != asked[1]:
        yield f"the requests differ: {_names(asked[0])} for the baseline, {_names(asked[1])} now"
    old, new = cpu_limit(baseline.stages), cpu_limit(candidate.stages)
    if old is not None and new is not None and abs(new - old) > _CORES * old:
        yield f"the shape of the replica differs: a limit of {old:.3g} cores for the baseline, {new:.3g} now"


def _names(kinds: object) -> str:
    return ", ".join(str(kind) for kind in kinds) if isinstance(kinds, list | tuple) else str(kinds)
