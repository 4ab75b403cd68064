"""Bucket boundaries from objectives. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from exporters.names import (
    LATENCY_FACTOR,
    LATENCY_HIGHEST,
    LATENCY_LOWEST,
    SLO_SPAN,
    SLO_STEP,
    TOKEN_LOWEST,
)


def _rounded(seconds: float) -> float:
    """Three significant digits: short on the wire, and far finer than the distance of two boundaries."""
    return float(f"{seconds:.3g}")


def _geometric(lowest: float, highest: float) -> list[float]:
    steps = math.ceil(math.log(highest / lowest) / math.log(LATENCY_FACTOR) - 1e-9)
    return [_rounded(lowest * LATENCY_FACTOR**i) for i in range(steps)] + [highest]


def _around(bound: float) -> list[float]:
    """The bound itself, and 5 % steps within ±20 % of it: `inference ≤ bound` is then read off exactly."""
    steps = round(SLO_SPAN / SLO_STEP)
    return [float(f"{bound * (1 + i * SLO_STEP):.6g}") for i in range(-steps, steps + 1)]


def _merged(grid: list[float], bounds: Iterable[float]) -> tuple[float, ...]:
    dense: list[float] = []
    kept = grid
    for bound in bounds:
        around = _around(bound)
        dense += around
        # a coarse boundary within half a step of a dense one adds a series and no knowledge
        margin = bound * SLO_STEP / 2
        kept = [edge for edge in kept if not around[0] - margin < edge < around[-1] + margin]
    return tuple(sorted({*kept, *dense}))


def latency_bounds(objectives: Iterable[float] = ()) -> tuple[float, ...]:
    """Upper bounds in seconds, ascending, without +Inf.

    1 ms to 120 s by a factor of √2, dense around each of `objectives` (s).
    """
    return _merged(_geometric(LATENCY_LOWEST, LATENCY_HIGHEST), objectives)


def token_bounds(objectives: Iterable[float] = ()) -> tuple[float, ...]:
    """As `latency_bounds`, from 0.1 ms: for the time between two parts of a streamed answer."""
    return _merged(_geometric(TOKEN_LOWEST, LATENCY_HIGHEST), objectives)
