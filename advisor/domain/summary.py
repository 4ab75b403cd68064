"""A stage in figures: what the store tells of it without its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.domain.requests import StreamLog
from advisor.domain.stage import Arrivals, Share, Stage, StageResult


@dataclass(frozen=True, slots=True)
class StageSummary:
    """A stage without its requests. Quantiles (s) are of successful requests, from the intended start.

    While the stage runs the counts are those so far, the quantiles and `drained` None, and before its first
    second all figures. `outcomes`: counts by name, None where they were not kept.
    """

    stage: Stage
    start: float | None
    end: float | None
    requests: int | None
    errors: int | None
    dropped: int | None
    drained: bool | None
    offered_rps: float | None
    completed_rps: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    dispatch_delay_p99: float | None
    generator_cpu: float | None
    outcomes: Mapping[str, int] | None = None
    streams: StreamLog | None = None
    shares: tuple[Share, ...] = ()

    @property
    def seconds(self) -> float | None:
        """For how long requests were asked for, so far; None before the first second."""
        return self.end - self.start if self.start is not None and self.end is not None else None

    @property
    def asked_rps(self) -> float | None:
        """What was asked for; the mean of what was offered where the rate changed; None of a volley."""
        if self.stage.arrivals is Arrivals.VOLLEY:
            return None
        return self.stage.rate if self.stage.arrivals.steady else self.offered_rps

    @property
    def over(self) -> bool:
        """The stage has ended."""
        return self.drained is not None


def summarise(result: StageResult) -> StageSummary:
    """The figures of a stage."""
    log = result.log
    latency = log.latency[log.ok]
    quantiles: Sequence[float | None] = (None, None, None)
    if latency.size:
        quantiles = [float(q) for q in np.quantile(latency, (0.5, 0.95, 0.99))]
    return StageSummary(
        stage=result.stage,
        start=result.start,
        end=result.end,
        requests=len(log),
        errors=int(np.count_nonzero(log.failed)),
        dropped=result.dropped,
        drained=result.drained,
        offered_rps=result.offered_rps,
        completed_rps=result.completed_rps,
        p50=quantiles[0],
        p95=quantiles[1],
        p99=quantiles[2],
        dispatch_delay_p99=result.dispatch_delay_p99,
        generator_cpu=result.generator_cpu,
        outcomes=log.outcomes,
        streams=result.streams,
        shares=result.shares,
    )
