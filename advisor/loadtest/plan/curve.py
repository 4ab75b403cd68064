"""Demand curves: ((s, req/s), …), linear in between. Pure helpers of the scenarios that follow one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Curve: TypeAlias = tuple[tuple[float, float], ...]


def staircase(steps: Iterable[tuple[float, float]], rise: float = 0.1) -> Curve:
    """A curve of (seconds, req/s) steps; each begins `rise` seconds after the last has ended."""
    points: list[tuple[float, float]] = []
    now = 0.0
    for seconds, value in steps:
        begin = now + rise if points else now
        points += [(begin, value), (now + seconds, value)]
        now += seconds
    return tuple(points)


def capped(curve: Curve, limit: float) -> tuple[Curve, bool]:
    """The curve with no rate above `limit`, and whether that changed it."""
    clipped = tuple((t, min(value, limit)) for t, value in curve)
    return clipped, clipped != curve


def scaled(curve: Curve, factor: float) -> Curve:
    """Every rate times `factor`."""
    return tuple((t, value * factor) for t, value in curve)


def squeezed(curve: Curve, times: float) -> Curve:
    """The same rates in so many times less time."""
    return tuple((t / times, value) for t, value in curve)


def shortened(curve: Curve, seconds: float) -> Curve:
    """The part of the curve before `seconds`."""
    kept = [point for point in curve if point[0] <= seconds]
    if len(kept) == len(curve) or not kept:
        return tuple(kept)
    (t0, v0), (t1, v1) = kept[-1], curve[len(kept)]
    return (*kept, (seconds, v0 + (v1 - v0) * (seconds - t0) / (t1 - t0)))
