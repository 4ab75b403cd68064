"""The check: the fitted server under the very arrivals of the run must give the latencies that the run
saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from advisor.capacity.identification.model import ServerModel
from advisor.capacity.identification.timeline import ANSWERED
from advisor.domain import Arrivals, Floats, Outcome, RequestLog, StageResult

_REPLICAS = 60
_FEWEST = 40  # requests below which a stage says nothing about a tail
_TOLERATED = 0.03  # ln units of latency that a useful model may be off, however many requests tell it
_BAND = (0.55, 1.15)  # stages at these multiples of the capacity are replayed, and all where there is none


@dataclass(frozen=True, slots=True)
class Span:
    """A stage of open-loop load: `start`, `end` (s in the log's time), `rate` offered (req/s)."""

    start: float
    end: float
    rate: float


@dataclass(frozen=True, slots=True)
class ReplayedStage:
    """Observed and simulated latency quantile (s) of one stage, and their distance in standard errors."""

    start: float
    end: float
    rate: float
    observed: float
    simulated: float
    z: float

    @property
    def difference(self) -> float:
        """Ln observed/simulated."""
        return float(np.log(self.observed / self.simulated))


@dataclass(frozen=True, slots=True)
class Replay:
    """All replayed stages. `shift`: mean of ln observed/simulated; `z`: the same in standard errors."""

    quantile: float
    stages: tuple[ReplayedStage, ...]
    shift: float
    z: float

    @property
    def rms(self) -> float:
        """Root mean square of the stages' z: about 1 when the model is true."""
        return float(np.sqrt(np.mean([stage.z**2 for stage in self.stages]))) if self.stages else 0.0

    @property
    def probability(self) -> float:
        """Of stages as far off as these, or further, if the model were true (chi-squared of their z)."""
        if not self.stages:
            return 1.0
        return float(chi2.sf(sum(stage.z**2 for stage in self.stages), len(self.stages)))


def open_spans(stages: Sequence[tuple[float, float, float]] | Sequence[StageResult]) -> list[Span]:
    """The stages with one rate. A rate of 0 in a tuple marks a stage that is no open-loop load."""
    spans = []
    for stage in stages:
        if isinstance(stage, StageResult):
            if stage.stage.arrivals in (Arrivals.POISSON, Arrivals.CONSTANT):
                spans.append(Span(stage.start, stage.end, stage.stage.rate))
        elif stage[2] > 0 and stage[1] > stage[0]:
            spans.append(Span(*map(float, stage)))
    return spans


def replay(
    model: ServerModel,
    log: RequestLog,
    spans: Sequence[Span],
    quantile: float,
    near: float | None,
    *,
    path: Floats | None = None,
    seed: int = 0,
) -> Replay:
    """Replays the spans around the rate `near` (req/s; None: all), `_REPLICAS` times each with works
    drawn anew.

    `path` is the disturbance as it was found in the log: the machine's spells are replayed, not drawn.
    """
    rng = np.random.default_rng(seed)
    loads = [load for load in (_load(log, span, quantile) for span in spans) if load is not None]
    close = [load for load in loads if near is None or _BAND[0] <= load.rate / near <= _BAND[1]]
    stages = [_replayed(model, load, quantile, path, rng) for load in close or loads]
    done = [stage for stage in stages if stage is not None]
    if not done:
        return Replay(quantile, (), 0.0, 0.0)
    apart = np.array([stage.difference for stage in done])
    weight = np.array(
        [
            (stage.z / stage.difference) ** 2 if stage.z and stage.difference else _TOLERATED**-2
            for stage in done
        ]
    )
    shift = float(np.average(apart, weights=weight))
    return Replay(quantile, tuple(done), shift, shift * float(np.sqrt(weight.sum())))


@dataclass(frozen=True, slots=True)
class _Load:
    """The requests of a span: when they were sent (s), at what rate, and their latency quantile (s)."""

    span: Span
    sent: Floats
    rate: float
    observed: float


def _load(log: RequestLog, span: Span, quantile: float) -> _Load | None:
    """None with too few answers."""
    inside = (log.sent >= span.start) & (log.sent < span.end)
    answered = inside & np.isin(log.outcome, ANSWERED)
    if np.count_nonzero(answered) < _FEWEST:
        return None
    reached = answered | (inside & (log.outcome == Outcome.REJECTED))
    rate = np.count_nonzero(reached) / (span.end - span.start)
    return _Load(span, np.sort(log.sent[reached]), rate, float(np.quantile(log.service[answered], quantile)))


def _replayed(
    model: ServerModel, load: _Load, quantile: float, path: Floats | None, rng: np.random.Generator
) -> ReplayedStage | None:
    """One stage; None when the server rejects nearly all of it."""
    draws = []
    for _ in range(_REPLICAS):
        end = model.completions(load.sent, rng.random(load.sent.size), path=path, crowd=load.sent.size + 1)
        latency = (end - load.sent)[~np.isnan(end)]
        if latency.size:
            draws.append(float(np.quantile(latency, quantile)))
    if len(draws) < _REPLICAS // 2:
        return None
    known = np.log(draws)
    centre = float(np.median(known))
    difference = float(np.log(load.observed)) - centre
    # latencies near saturation are skewed: the spread is that of the side on which the run lies
    side = known[known >= centre] if difference > 0 else known[known <= centre]
    spread = float(np.sqrt(np.mean((side - centre) ** 2) + _TOLERATED**2))
    span = load.span
    return ReplayedStage(
        span.start, span.end, load.rate, load.observed, float(np.exp(centre)), difference / spread
    )
