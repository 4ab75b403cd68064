"""How much load one replica holds, what that rests on, and why there may be no number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Limit(StrEnum):
    """What ends a replica's capacity."""

    CPU = "cpu"  # all cores of its limit are busy
    SINGLE_THREAD = "single_thread"  # one core busy while others idle: a global lock or one worker
    WORKERS = "workers"  # all slots taken while the CPU is not: threads, processes, connections
    BATCHING = "batching"
    SLOTS = "slots"
    QUOTA = "quota"
    QUEUE_LIMIT = "queue_limit"  # it rejects before it is slow
    CONTENTION = "contention"  # throughput falls with concurrency
    GPU = "gpu"
    MEMORY = "memory"
    ERRORS = "errors"
    NETWORK = "network"  # the latency arises before the sidecar: network, proxy, load balancer
    GENERATOR = "generator"  # of the load: what was measured is not the target
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The fitted server at one rate."""

    rate: float
    quantiles: Mapping[float, float]  # quantile → seconds
    mean: float
    in_flight: float
    error_ratio: float

    def at(self, share: float) -> CurvePoint:
        """The same latencies at `share` times the rate, and so with as many times the requests in flight."""
        return replace(self, rate=self.rate * share, in_flight=self.in_flight * share)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The machine's own: for `share` of the time every request takes `slowdown` times as long."""

    share: float
    slowdown: float


@dataclass(frozen=True, slots=True)
class Admission:
    """Requests that one replica's sidecar lets in (`in_flight`) and lets wait (`queue`); the rest are told to
    come again. Goodput: answers within the objective, req/s, in a minute at `overload` times the capacity.
    """

    in_flight: int
    queue: int
    overload: float
    goodput: float
    goodput_without: float
    turned_away: float  # share, at the capacity itself


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a capacity rests on."""

    requests: int
    seconds: float
    top_rate: float  # highest rate seen, req/s
    run_id: str | None = None
    measured_at: float | None = None
    checks: tuple[str, ...] = ()  # each a sentence with its numbers: replay, agreement, bracket
    source: str = "run"  # or "production": traffic that was observed, nothing was loaded
    disagreement: str | None = None  # between the methods, where chance hardly explains it


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest open-loop Poisson rate per replica that holds the SLO, with what it is made of."""

    rps: float
    interval: tuple[float, float]
    limited_by: Limit
    method: str  # "identification" or "regression"
    evidence: Evidence
    confidence: float = 0.90
    in_flight: float | None = None  # mean in flight at `rps`
    cpu_cores: float | None = None  # model's CPU at `rps`
    cpu_idle_cores: float | None = None  # its CPU without load, from the regression on the rate
    saturation_rps: float | None = None  # throughput when always busy
    undisturbed_rps: float | None = None  # without the machine's disturbance
    disturbance: Disturbance | None = None
    server: str = ""  # the identified server in words
    why: str = ""  # what limits it, with the numbers
    remedies: tuple[str, ...] = ()  # what to try, then to measure again
    curve: tuple[CurvePoint, ...] = ()
    alternatives: Mapping[str, float] = field(default_factory=dict)  # other methods' estimates, req/s
    warnings: tuple[str, ...] = ()
    admission: Admission | None = None  # of an identified server


@dataclass(frozen=True, slots=True)
class Refusal:
    """No number, and why; `at_least` where a lower bound is known (req/s).

    `infeasible` when the SLO cannot be met at any rate: replicas cannot fix service time.
    """

    reason: str
    at_least: float | None = None
    infeasible: bool = False
    in_flight: float | None = None  # mean of a replica at `at_least`: safe to hold


@dataclass(frozen=True, slots=True)
class Drift:
    """Production against what the server that was measured would have answered to the same requests.

    ratio: latency seen over latency simulated; probability: of a difference as large by chance, were it the
    same server; drifted: both too far off and no chance.
    """

    ratio: float
    probability: float
    drifted: bool
