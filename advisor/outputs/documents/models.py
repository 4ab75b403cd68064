"""The JSON documents of the command line and of the API: fixed keys.

Rates are in requests/s, times in seconds, shares in 0..1. What is not known is null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Base of all: built once, never changed."""

    model_config = ConfigDict(frozen=True)


class SloDocument(Document):
    """`{"latency": {"p95": 0.15}, "error_ratio": 0.001}`; `ttft` and `itl` of streamed answers."""

    latency: dict[str, float]
    error_ratio: float
    ttft: dict[str, float] | None = None
    itl: dict[str, float] | None = None


class VerdictDocument(Document):
    """`valid`, `inconclusive` or `invalid`, with what would settle it."""

    status: str
    reasons: list[str]


class RefusalDocument(Document):
    """Why there is no number; `at_least` where one replica was seen to hold that much."""

    reason: str
    at_least: float | None = None
    infeasible: bool = False


class DisturbanceDocument(Document):
    """For `share` of the time every request takes `slowdown` times as long."""

    share: float
    slowdown: float


class EvidenceDocument(Document):
    """What a capacity rests on."""

    requests: int
    seconds: float
    top_rate: float
    run_id: str | None
    measured_at: datetime | None
    checks: list[str]
    source: str = "run"


class CapacityDocument(Document):
    """The highest open-loop Poisson rate of one replica within its objective."""

    rps: float
    interval: tuple[float, float]
    confidence: float
    limited_by: str
    in_flight: float | None
    method: str
    server: str
    why: str
    remedies: list[str]
    cpu_cores: float | None
    saturation_rps: float | None
    undisturbed_rps: float | None
    disturbance: DisturbanceDocument | None
    evidence: EvidenceDocument
    alternatives: dict[str, float]
    warnings: list[str]


class CurvePointDocument(Document):
    """The fitted server at one rate."""

    rate: float
    quantiles: dict[str, float]
    mean: float
    in_flight: float
    error_ratio: float


class ShareDocument(Document):
    """What one of several generators sent. `lost`: why and when it was gone; `lag`: s that it told late."""

    name: str
    requests: int
    lost: str | None
    lag: float
    late: bool


class StageDocument(Document):
    """One stage: latencies of the requests that went well, from the intended start.

    `outcomes`: how many requests ended how, by name; `cancelled` are those that the generator itself cut, at
    an abort or unanswered at the end of the drain, and are no `errors`.
    """

    name: str
    arrivals: str
    rate: float | None
    seconds: float
    requests: int
    completed_rps: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    errors: int
    dropped: int
    outcomes: dict[str, int] | None = None
    ttft_p50: float | None = None
    ttft_p95: float | None = None
    ttft_p99: float | None = None
    itl_p50: float | None = None
    itl_p95: float | None = None
    itl_p99: float | None = None
    tokens_per_second: float | None = None
    goodput_rps: float | None = None
    goodput_share: float | None = None
    workers: list[ShareDocument] | None = None


class RunDocument(Document):
    """One load test."""

    run_id: str
    target: str
    scenario: str
    status: str
    reason: str | None
    started_at: datetime
    version: str | None
    verdict: VerdictDocument | None
    capacity: CapacityDocument | None
    refusal: RefusalDocument | None
    slo: SloDocument
    stages: list[StageDocument]
    elapsed_seconds: float | None
    requests: int
    findings: dict[str, Any]


class DemandDocument(Document):
    """Requests/s of the whole service."""

    rps: float
    source: str


class ReplicasDocument(Document):
    """Counts; `why` is the arithmetic in one sentence."""

    current: int | None
    recommended: int
    minimum: int
    maximum: int
    why: str
    cost_per_hour: float | None = None


class FleetDocument(Document):
    """The count that was asked about: what it holds, how it answers at the demand (`latency`, `within_slo`),
    and how it would have done over the last `days`.
    """

    replicas: int
    rps: float
    interval: tuple[float, float]
    why: str
    latency: dict[str, float]
    within_slo: float | None
    days: float | None
    minutes_within_slo: float | None
    requests_within_slo: float | None
    cost_per_hour: float | None


class ExplainedDocument(Document):
    """A number of the answer, and the sentence that explains it."""

    name: str
    value: str
    why: str


class SignalDocument(Document):
    """A signal that was considered; `accepted` false carries the reason in `why`."""

    metric: str
    type: str
    target: float | None
    unit: str
    why: str
    accepted: bool
    elasticity: float | None


class AutoscalingDocument(Document):
    """The signal to hold; `target_rps` is the load of a replica that its target stands for."""

    metric: str
    type: str
    target: float | None
    unit: str
    why: str
    alternatives: list[SignalDocument]
    elasticity: float | None
    target_rps: float
    secondary: SignalDocument | None
    down_window_seconds: int


class OutcomeDocument(Document):
    """One autoscaling setting replayed."""

    name: str
    requests_within_slo: float
    minutes_within_slo: float
    replica_hours: float
    scalings_per_day: float
    most_replicas: int
    stable: bool
    cost: float | None


class SimulationDocument(Document):
    """The control loop on past or expected demand; the advised setting comes first."""

    source: str
    days: float
    outcomes: list[OutcomeDocument]


class HorizonDocument(Document):
    """The highest demand within a horizon, with its 90 % interval."""

    name: str
    seconds: float
    rps: float
    interval: tuple[float, float]
    replicas: int | None


class ForecastDocument(Document):
    """Demand to come; `error` is the held-out mean absolute error as a share of the mean demand."""

    method: str
    error: float
    horizons: list[HorizonDocument]
    warnings: list[str]


class AdmissionDocument(Document):
    """What the sidecar of one replica should let in, and wait (`--max-in-flight`, `--max-queue`).

    `goodput_rps`: answers within the objective in a minute at `overload` times the capacity, with the limit
    and without it; `turned_away_ratio`: share of the requests turned away at the capacity itself.
    """

    max_in_flight: int
    max_queue: int
    overload: float
    goodput_rps: float
    goodput_without_rps: float
    turned_away_ratio: float


class DriftDocument(Document):
    """Production's latency over what the measured server would give to the same requests; `probability` of
    as much by chance.
    """

    ratio: float
    probability: float
    drifted: bool


class RecommendationDocument(Document):
    """How many replicas, and which target to hold."""

    target: str
    generated_at: datetime
    status: str
    reasons: list[str]
    slo: SloDocument
    capacity: CapacityDocument | None
    demand: DemandDocument | None
    replicas: ReplicasDocument | None
    autoscaling: AutoscalingDocument | None
    simulation: SimulationDocument | None
    forecast: ForecastDocument | None
    warnings: list[str]
    fleet: FleetDocument | None = None
    explained: list[ExplainedDocument] = []
    admission: AdmissionDocument | None = None
    drift: DriftDocument | None = None
