"""The answer: how many replicas, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.domain.autoscaling import Autoscaling, Simulation
from advisor.domain.capacity import Capacity, Drift, Refusal
from advisor.domain.demand import Demand, Forecast
from advisor.domain.slo import Slo


@dataclass(frozen=True, slots=True)
class Replicas:
    """Counts; `why` is one sentence with the numbers."""

    recommended: int
    minimum: int
    maximum: int
    why: str
    current: int | None = None
    cost_per_hour: float | None = None  # of the recommended ones


@dataclass(frozen=True, slots=True)
class Fleet:
    """A given number of replicas: what they hold together, and how they would have done.

    `rps` counts the lower bound of the capacity and leaves out those that may fail; `interval` is that of
    the capacity times all of them. `latency` (quantile → s) and `within_slo` (share of the requests) are at
    the demand; the shares of minutes and of their requests are over the last `days` of production.
    """

    replicas: int
    rps: float
    interval: tuple[float, float]
    why: str
    latency: Mapping[float, float] = field(default_factory=dict)
    within_slo: float | None = None
    days: float | None = None
    minutes_within_slo: float | None = None
    requests_within_slo: float | None = None
    cost_per_hour: float | None = None


class AdviceStatus(StrEnum):
    """Of a recommendation."""

    OK = "ok"
    REFUSED = "refused"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer to "how many replicas, and which target?"."""

    target: str
    generated_at: float
    status: AdviceStatus
    slo: Slo
    reasons: tuple[str, ...] = ()
    capacity: Capacity | Refusal | None = None
    demand: Demand | None = None
    replicas: Replicas | None = None
    fleet: Fleet | None = None  # of the count that was asked about
    autoscaling: Autoscaling | None = None
    simulation: Simulation | None = None
    forecast: Forecast | None = None
    warnings: tuple[str, ...] = ()
    drift: Drift | None = None  # of production from the capacity
