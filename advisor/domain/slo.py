"""What a service promises."""

from __future__ import annotations

from dataclasses import dataclass


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
