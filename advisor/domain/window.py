"""What was seen of production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.domain.histogram import Histogram
from advisor.domain.requests import RequestLog


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
