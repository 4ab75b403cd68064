"""Which signal to hold, and how that would have gone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MetricType(StrEnum):
    """Of `autoscaling/v2`."""

    CONTAINER_RESOURCE = "ContainerResource"
    PODS = "Pods"
    EXTERNAL = "External"


@dataclass(frozen=True, slots=True)
class Signal:
    """One candidate to scale on. `target` in `unit`; `accepted` False carries the reason in `why`."""

    metric: str
    type: MetricType
    target: float | None  # None where the signal was never seen
    unit: str
    why: str
    accepted: bool = True
    elasticity: float | None = None  # d ln signal / d ln load near the target


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the autoscaler is told beside its target, each with a sentence on why."""

    minimum: int
    maximum: int
    down_window_seconds: int
    why_minimum: str
    why_maximum: str
    why_down_window: str


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """The signal to hold, those declined, and the HPA's behaviour."""

    chosen: Signal
    alternatives: tuple[Signal, ...]
    target_rps: float  # per replica, the load that the target stands for
    behaviour: Behaviour
    secondary: Signal | None = None


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """One autoscaling setting replayed: what it would have cost, and how often it would have held."""

    name: str
    requests_within_slo: float  # share
    minutes_within_slo: float  # share
    replica_hours: float
    scalings_per_day: float
    most_replicas: int
    stable: bool = True
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    """The control loop replayed on `days` of demand from `source`; the advised setting comes first."""

    source: str
    days: float
    outcomes: tuple[PolicyOutcome, ...]
