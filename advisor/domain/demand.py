"""Load on the whole service, now and to come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests/s arriving at the whole service, and where the number comes from."""

    rps: float
    source: str


@dataclass(frozen=True, slots=True)
class ForecastHorizon:
    """The highest demand (req/s) within one horizon, its 90 % interval, and the replicas that it takes."""

    name: str  # "next hour", "next day", "next week"
    seconds: float
    rps: float
    interval: tuple[float, float]
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Demand to come. `error`: held-out mean absolute error as a share of mean demand, by rolling origin."""

    method: str
    error: float
    horizons: tuple[ForecastHorizon, ...]
    step_seconds: float
    start: float  # Unix seconds of the first point
    points: tuple[tuple[float, float, float], ...] = ()  # (low, expected, high), req/s
    warnings: tuple[str, ...] = ()
