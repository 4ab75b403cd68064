"""The words of the product as frozen data: what every layer takes and gives. No I/O, no clock.

Units everywhere: seconds, requests/s, cores, bytes, ratios in 0..1. `None` is "not known", never 0 or NaN.
Times inside a run are seconds since the run began; `started_at` and window bounds are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Outcome(IntEnum):
    """How one request ended. The first six carry the names of the sidecar's `outcome` label."""

    OK = 0
    CLIENT_ERROR = 1  # a 4xx that was not expected
    SERVER_ERROR = 2  # a 5xx other than REJECTED
    REJECTED = 3  # 429 or 503: the server said that it has no room
    TIMEOUT = 4
    CANCELLED = 5
    CONNECTION = 6  # no answer: refused, reset, or closed before the first byte
    ACCEPTED = 7  # an answer below 400 to a request that should have been refused


# -------------------------------------------------------------------------------------------- objectives


@dataclass(frozen=True, slots=True, order=True)
class LatencyBound:
    """`quantile` of the latency stays at or below `seconds`."""

    quantile: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Slo:
    """The objective: latency bounds (sorted by quantile) and the share of failed requests; of streamed
    answers the time to the first token, and the time between two of them.
    """

    latency: tuple[LatencyBound, ...]
    error_ratio: float = 0.001
    ttft: tuple[LatencyBound, ...] = ()
    itl: tuple[LatencyBound, ...] = ()

    @property
    def tightest(self) -> float:
        """The smallest latency bound in seconds; infinity when none is set."""
        return min((bound.seconds for bound in self.latency), default=float("inf"))


# ---------------------------------------------------------------------------------------- requests, stages


@dataclass(frozen=True, slots=True)
class RequestLog:
    """One row a request, as arrays of equal length, sorted by `intended`.

    intended: when the plan wanted it sent; sent: when its turn came, before a connection was made where it
    needed one; end: when its last byte arrived (all s); outcome: `Outcome` codes; kind: index of the request
    kind in the target's list.
    """

    intended: Floats
    sent: Floats
    end: Floats
    outcome: NDArray[np.int8]
    kind: NDArray[np.int16]

    def __len__(self) -> int:
        return int(self.intended.size)

    @property
    def latency(self) -> Floats:
        """End - intended (s): what a client of an open system sees, free of coordinated omission."""
        return self.end - self.intended

    @property
    def service(self) -> Floats:
        """End - sent (s): what a closed-loop tool would have reported."""
        return self.end - self.sent

    @property
    def ok(self) -> NDArray[np.bool_]:
        """True where the request ended as expected."""
        return np.equal(self.outcome, Outcome.OK)

    @property
    def cut(self) -> NDArray[np.bool_]:
        """True where the generator ended it: at an abort, or unanswered at the end of the drain."""
        return np.equal(self.outcome, Outcome.CANCELLED)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """True where the target failed it: neither as expected nor cut by the generator."""
        return ~(self.ok | self.cut)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many ended how, by the name of the outcome in small letters; those that did not occur are left
        out.
        """
        counted = np.bincount(self.outcome, minlength=len(Outcome))
        return {outcome.name.lower(): int(counted[outcome]) for outcome in Outcome if counted[outcome]}

    @property
    def error_ratio(self) -> float | None:
        """Share of failed requests among those that the generator did not cut; None without any."""
        whole = len(self) - int(np.count_nonzero(self.cut))
        return int(np.count_nonzero(self.failed)) / whole if whole else None

    def select(self, keep: NDArray[np.bool_] | Ints) -> RequestLog:
        """The rows of a mask or an index array."""
        return RequestLog(
            self.intended[keep], self.sent[keep], self.end[keep], self.outcome[keep], self.kind[keep]
        )

    @staticmethod
    def empty() -> RequestLog:
        """No rows."""
        nothing = np.zeros(0)
        return RequestLog(nothing, nothing, nothing, np.zeros(0, np.int8), np.zeros(0, np.int16))

    @staticmethod
    def concat(logs: Iterable[RequestLog]) -> RequestLog:
        """All rows of several logs, sorted by intended time."""
        parts = [log for log in logs if len(log)]
        if not parts:
            return RequestLog.empty()
        merged = RequestLog(
            np.concatenate([p.intended for p in parts]),
            np.concatenate([p.sent for p in parts]),
            np.concatenate([p.end for p in parts]),
            np.concatenate([p.outcome for p in parts]),
            np.concatenate([p.kind for p in parts]),
        )
        return merged.select(np.argsort(merged.intended, kind="stable").astype(np.int64))


@dataclass(frozen=True, slots=True)
class StreamLog:
    """One row a streamed answer that brought tokens (s): `first` and `last` are the times of its tokens.

    `gaps` counts the times between one token and the next, of all answers together.
    """

    intended: Floats
    sent: Floats
    first: Floats
    last: Floats
    tokens: Ints
    gaps: Histogram

    def __len__(self) -> int:
        return int(self.intended.size)

    @property
    def ttft(self) -> Floats:
        """Time to first token from the intended start (s)."""
        return self.first - self.intended

    @staticmethod
    def concat(logs: Iterable[StreamLog]) -> StreamLog | None:
        """All rows of several logs whose `gaps` have the same bounds; None without rows."""
        parts = [log for log in logs if len(log)]
        if not parts:
            return None
        return StreamLog(
            np.concatenate([p.intended for p in parts]),
            np.concatenate([p.sent for p in parts]),
            np.concatenate([p.first for p in parts]),
            np.concatenate([p.last for p in parts]),
            np.concatenate([p.tokens for p in parts]),
            Histogram(parts[0].gaps.bounds, np.sum([p.gaps.counts for p in parts], axis=0)),
        )


class Arrivals(StrEnum):
    """How a stage spaces its requests."""

    SINGLE = "single"  # one at a time, the next when the last has ended
    POISSON = "poisson"
    CONSTANT = "constant"
    GAMMA = "gamma"  # gaps of a gamma law with coefficient of variation `cv`: bursts, or evenness
    RAMP = "ramp"  # Poisson, the rate doubling every `doubling` seconds
    VOLLEY = "volley"  # `count` requests at once
    REPLAY = "replay"  # Poisson along `curve`
    USERS = "users"  # closed loop: `count` users of a locustfile, `rate` of them started a second


@dataclass(frozen=True, slots=True)
class RampStop:
    """A ramp ends when the server is past its knee, not at a clock time.

    It ends when `slow_of` of the last `window` completions took longer than `latency`, at `failures`
    rejected or failed requests, or with more than `in_flight` requests in flight.
    """

    latency: float
    window: int = 15
    slow_of: int = 12
    failures: int = 6
    in_flight: int = 10_000


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run at one load: what the generator is asked to do.

    `rate` in req/s (a ramp's first rate; unused for SINGLE and VOLLEY); `seconds` bounds the sending of new
    requests; afterwards the generator waits up to `drain` seconds until nothing is in flight.
    """

    name: str
    arrivals: Arrivals
    seconds: float
    rate: float = 0.0
    doubling: float | None = None
    count: int | None = None
    stop: RampStop | None = None
    curve: tuple[tuple[float, float], ...] = ()  # (s since the stage began, req/s), linear in between
    cv: float = 1.0  # of the gaps, for GAMMA and REPLAY: 1 is Poisson, above it bursts, below it evenness
    drain: float = 30.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """A plan's last word, with the reason built from the numbers that decided it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several generators sent of a stage. `lost`: why and when it was gone, in words; `lag`: how
    late (s) its measurements came at the most; `late`: it came after the run had begun.
    """

    name: str
    requests: int
    lost: str | None = None
    lag: float = 0.0
    late: bool = False


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage gave. `start`, `end` bound the asking (s since the run began); the log may end later."""

    stage: Stage
    start: float
    end: float
    log: RequestLog
    dropped: int = 0  # arrivals beyond the in-flight cap
    drained: bool = True  # nothing in flight at the end of `drain`
    dispatch_delay_p99: float | None = None
    generator_cpu: float | None = None  # cores used by the generator, 1.0 is one full core
    windows: tuple[Window, ...] = ()  # the sidecar's view, where there is one
    streams: StreamLog | None = None  # of streamed answers
    shares: tuple[Share, ...] = ()  # where several generators sent it

    @property
    def offered_rps(self) -> float | None:
        """Requests asked for in a second of the stage, dropped ones included."""
        seconds = self.end - self.start
        return (len(self.log) + self.dropped) / seconds if seconds > 0 else None

    @property
    def completed_rps(self) -> float | None:
        """Successful answers that came within the stage's own seconds, in req/s."""
        seconds = self.end - self.start
        done = int(np.count_nonzero(self.log.ok & (self.log.end <= self.end)))
        return done / seconds if seconds > 0 else None


class VerdictStatus(StrEnum):
    """May the run's evidence change a recommendation?"""

    VALID = "valid"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Verdict:
    """On the evidence itself; each reason says what would settle it."""

    status: VerdictStatus
    reasons: tuple[str, ...] = ()


class RunStatus(StrEnum):
    """The life of a run."""

    RUNNING = "running"
    DONE = "done"
    ABORTED = "aborted"  # a person or a safety rule ended it
    INTERRUPTED = "interrupted"  # the advisor died under it
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """One load test, whole or what was kept of it."""

    run_id: str
    target: str
    scenario: str
    slo: Slo
    started_at: float
    status: RunStatus
    stages: tuple[StageResult, ...] = ()
    verdict: Verdict | None = None
    capacity: Capacity | Refusal | None = None
    findings: Mapping[str, object] = field(default_factory=dict)  # what the scenario yields beside capacity
    ended_at: float | None = None
    reason: str | None = None  # why it ended
    version: str | None = None  # of the model, where known
    metadata: Mapping[str, object] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------- windows


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by latency. `bounds`: upper bounds (s), ascending, no +Inf; `counts`: one more than bounds."""

    bounds: Floats
    counts: Floats

    @property
    def total(self) -> float:
        """Number of observations."""
        return float(self.counts.sum())

    def quantile(self, q: float) -> float | None:
        """Seconds at quantile `q`, linear in a bucket as in PromQL; None when empty or beyond the bounds."""
        total = self.total
        if total <= 0:
            return None
        cumulative = np.cumsum(self.counts)
        i = int(np.searchsorted(cumulative, q * total))
        if i >= self.bounds.size:
            return None
        low = float(self.bounds[i - 1]) if i else 0.0
        below = float(cumulative[i - 1]) if i else 0.0
        share = (q * total - below) / float(self.counts[i]) if self.counts[i] else 0.0
        return low + (float(self.bounds[i]) - low) * share


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of a metrics endpoint at Unix time `at`: (labels, value) rows by sample name."""

    at: float
    samples: Mapping[str, tuple[tuple[Mapping[str, str], float], ...]]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """One interval of observations of one replica (or of all, summed: then `replicas` says how many)."""

    start: float
    end: float
    requests: Mapping[str, float]  # by outcome label
    latency: Histogram | None = None
    queue: Histogram | None = None
    in_flight: float | None = None  # exact mean, from the time integral
    queue_depth: float | None = None
    cpu_cores: float | None = None
    cpu_limit_cores: float | None = None
    cpu_throttled_seconds: float | None = None
    memory_bytes: float | None = None
    memory_limit_bytes: float | None = None
    gpu_utilization: float | None = None
    gpu_memory_bytes: float | None = None  # the model's own where it can be told apart, else the whole GPU's
    gpu_memory_limit_bytes: float | None = None
    kv_cache: float | None = None  # share of an engine's key-value cache in use
    replicas: int = 1
    source: str = ""

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end - self.start

    @property
    def arrival_rps(self) -> float:
        """Requests ended in a second, whatever the outcome."""
        return sum(self.requests.values()) / self.seconds

    @property
    def error_ratio(self) -> float | None:
        """Share of server errors, rejections and timeouts; None without requests."""
        total = sum(self.requests.values())
        bad = sum(self.requests.get(name, 0.0) for name in ("server_error", "rejected", "timeout"))
        return bad / total if total else None


@dataclass(frozen=True, slots=True)
class Spell:
    """An unbroken stretch of one replica's production: every request that ended in (start, end] (Unix s).

    `source` is the sidecar's address. A spell that begins where another of the same source ended follows it
    without a gap.
    """

    source: str
    start: float
    end: float
    log: RequestLog


# ------------------------------------------------------------------------------------------------ capacity


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


# -------------------------------------------------------------------------------------------------- advice


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests/s arriving at the whole service, and where the number comes from."""

    rps: float
    source: str


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
