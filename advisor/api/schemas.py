"""Documents that only the API speaks: targets, windows, lists of runs, and what is asked of a run."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from advisor.capacity.knee import knee
from advisor.domain import Capacity, Recommendation, Refusal, Run, RunStatus, Window
from advisor.outputs.documents import (
    CapacityDocument,
    CurvePointDocument,
    RefusalDocument,
    SloDocument,
    VerdictDocument,
    capacity_document,
    curve_documents,
    refusal_document,
    slo_document,
)
from advisor.service.options import RunOptions
from advisor.service.schedule import NextRun
from advisor.settings import TargetSettings
from advisor.units import parse_duration

Seconds = Annotated[
    float, BeforeValidator(parse_duration, json_schema_input_type=float | str), Field(examples=["45s", 45])
]
Scenario = Literal["capacity", "smoke", "load", "stress", "spike", "soak", "replay", "rollout", "scalability"]
Point = tuple[Annotated[float, Field(ge=0, lt=math.inf)], Annotated[float, Field(ge=0, lt=math.inf)]]


class RunRequest(BaseModel):
    """What to run. Rates in req/s; durations in s or as `45s`, `20m`; null leaves the configured value.

    Rollout and scalability change the target with the hook of the configuration, and with no other.
    """

    model_config = ConfigDict(extra="forbid")

    scenario: Scenario = "capacity"
    rate: float | None = Field(default=None, gt=0, lt=math.inf)
    duration: Seconds | None = None
    budget: Seconds | None = None
    max_rate: float | None = Field(default=None, gt=0, lt=math.inf)
    factor: float | None = Field(default=None, gt=0, lt=math.inf, description="of spike and replay")
    cv: float | None = Field(
        default=None, gt=0, le=10, description="of the gaps between arrivals, 1 is Poisson"
    )
    curve: list[Point] = Field(default=[], max_length=20_000, description="of replay: (s, req/s), ascending")
    last: Seconds | None = Field(
        default=None, description="of replay: that much of production's latest demand"
    )
    compress: float | None = Field(
        default=None, gt=0, lt=math.inf, description="of replay: so many times as fast"
    )
    replicas: list[Annotated[int, Field(ge=1)]] = Field(
        default=[], max_length=20, description="of scalability"
    )
    users: int | None = Field(default=None, ge=1, description="of a locustfile, in place of a rate")
    spawn_rate: float | None = Field(default=None, gt=0, lt=math.inf, description="users started a second")

    def options(self) -> RunOptions:
        """The service's form."""
        return RunOptions(
            rate=self.rate,
            duration=self.duration,
            budget=self.budget,
            max_rate=self.max_rate,
            factor=self.factor,
            users=self.users,
            spawn_rate=self.spawn_rate,
            cv=self.cv,
            curve=tuple(self.curve),
            last=self.last,
            compress=self.compress,
            replicas=tuple(self.replicas),
        )


class AbortRequest(BaseModel):
    """Why, for the record."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="someone asked for it", max_length=300)


class SessionRequest(BaseModel):
    """A token, for the page's cookie."""

    model_config = ConfigDict(extra="forbid")

    token: str


class SessionDocument(BaseModel):
    """What the token allows: `viewer` or `operator`."""

    role: Literal["viewer", "operator"]


class RunSummary(BaseModel):
    """A run in a list."""

    run_id: str
    target: str
    scenario: str
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None
    elapsed_seconds: float
    reason: str | None
    version: str | None
    verdict: VerdictDocument | None
    capacity_rps: float | None
    refusal: str | None

    @classmethod
    def of(cls, run: Run, now: float) -> RunSummary:
        """From a run without its stages."""
        capacity = run.capacity
        return cls(
            run_id=run.run_id,
            target=run.target,
            scenario=run.scenario,
            status=run.status,
            started_at=datetime.fromtimestamp(run.started_at, UTC),
            ended_at=None if run.ended_at is None else datetime.fromtimestamp(run.ended_at, UTC),
            elapsed_seconds=(run.ended_at or now) - run.started_at,
            reason=run.reason,
            version=run.version,
            verdict=VerdictDocument(status=run.verdict.status, reasons=list(run.verdict.reasons))
            if run.verdict
            else None,
            capacity_rps=capacity.rps if isinstance(capacity, Capacity) else None,
            refusal=capacity.reason if isinstance(capacity, Refusal) else None,
        )


class ScheduledRun(BaseModel):
    """What the schedule will start."""

    scenario: str
    at: datetime
    cron: str

    @classmethod
    def of(cls, entry: NextRun) -> ScheduledRun:
        """From the service's form."""
        return cls(scenario=entry.scenario, at=datetime.fromtimestamp(entry.at, UTC), cron=entry.cron)


class LimitsDocument(BaseModel):
    """What a run stays in: req/s, requests in flight, seconds."""

    rate: float
    in_flight: int
    duration: float


class TargetDocument(BaseModel):
    """A model service under advice. `requests` are method and path of each kind."""

    name: str
    url: str
    version: str | None
    production: bool
    slo: SloDocument
    requests: list[str]
    limits: LimitsDocument
    schedule: list[ScheduledRun]
    running: RunSummary | None
    last_run: RunSummary | None

    @classmethod
    def of(
        cls, target: TargetSettings, schedule: list[ScheduledRun], runs: list[RunSummary]
    ) -> TargetDocument:
        """From its settings and its newest runs, newest first."""
        slo = target.slo.slo()
        running = next((run for run in runs if run.status is RunStatus.RUNNING), None)
        return cls(
            name=target.name,
            url=target.url,
            version=target.version,
            production=target.production,
            slo=slo_document(slo),
            requests=[f"{request.method} {request.path}" for request in target.requests],
            limits=LimitsDocument(
                rate=target.limits.rate,
                in_flight=target.limits.in_flight,
                duration=target.limits.duration,
            ),
            schedule=schedule,
            running=running,
            last_run=next((run for run in runs if run.status is not RunStatus.RUNNING), None),
        )


class CapacityCurveDocument(BaseModel):
    """The capacity and the fitted server at several loads, ascending; both null before the first run.

    `knee_rps`: where throughput over mean latency is highest.
    """

    target: str
    status: str
    reasons: list[str]
    slo: SloDocument
    capacity: CapacityDocument | None
    refusal: RefusalDocument | None
    knee_rps: float | None
    curve: list[CurvePointDocument]

    @classmethod
    def of(cls, advice: Recommendation) -> CapacityCurveDocument:
        """From the advice, which knows the capacity for the objective that was asked."""
        capacity = advice.capacity
        known = capacity if isinstance(capacity, Capacity) else None
        return cls(
            target=advice.target,
            status=advice.status,
            reasons=list(advice.reasons),
            slo=slo_document(advice.slo),
            capacity=capacity_document(known) if known else None,
            refusal=refusal_document(capacity) if isinstance(capacity, Refusal) else None,
            knee_rps=knee(known.curve) if known else None,
            curve=curve_documents(known) if known else [],
        )


class WindowDocument(BaseModel):
    """One interval of production, summed over the replicas. Null is "not known", never 0."""

    start: float
    end: float
    arrival_rps: float
    requests: dict[str, float]
    error_ratio: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    in_flight: float | None
    queue_depth: float | None
    cpu_cores: float | None
    cpu_limit_cores: float | None
    cpu_throttled_seconds: float | None
    memory_bytes: float | None
    memory_limit_bytes: float | None
    gpu_utilization: float | None
    replicas: int
    source: str

    @classmethod
    def of(cls, window: Window) -> WindowDocument:
        """From a window; quantiles (s) as PromQL would give them."""
        latency = window.latency
        return cls(
            start=window.start,
            end=window.end,
            arrival_rps=window.arrival_rps,
            requests=dict(window.requests),
            error_ratio=window.error_ratio,
            p50=latency.quantile(0.5) if latency else None,
            p95=latency.quantile(0.95) if latency else None,
            p99=latency.quantile(0.99) if latency else None,
            in_flight=window.in_flight,
            queue_depth=window.queue_depth,
            cpu_cores=window.cpu_cores,
            cpu_limit_cores=window.cpu_limit_cores,
            cpu_throttled_seconds=window.cpu_throttled_seconds,
            memory_bytes=window.memory_bytes,
            memory_limit_bytes=window.memory_limit_bytes,
            gpu_utilization=window.gpu_utilization,
            replicas=window.replicas,
            source=window.source,
        )


class WindowsDocument(BaseModel):
    """Windows that overlap [start, end) in Unix seconds, in order of time; a gap is where there is none."""

    target: str
    start: float
    end: float
    windows: list[WindowDocument]
