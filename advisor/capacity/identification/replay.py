"""The check: the fitted server under the very arrivals of the run must give the latencies that the run
saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from advisor.capacity.identification.model import ServerModel
from advisor.capacity.identification.simulation import LOST
from advisor.domain import Arrivals, Floats, RequestLog, StageResult

_REPLICAS = 60
_FEWEST = 40  # requests below which a stage says nothing about a tail
_BAND = (0.55, 1.15)  # stages at these multiples of the capacity are replayed


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
    near: float,
    *,
    path: Floats | None = None,
    seed: int = 0,
) -> Replay:
    """Replays the spans around the rate `near` (req/s), `_REPLICAS` times each with works drawn anew.

    `path` is the disturbance as it was found in the log: the machine's spells are replayed, not drawn.
    """
    rng = np.random.default_rng(seed)
    done: list[ReplayedStage] = []
    apart: list[float] = []
    variance: list[float] = []
    for span in spans:
        inside = (log.sent >= span.start) & (log.sent < span.end)
        rate = np.count_nonzero(inside) / (span.end - span.start)
        seen = inside & (log.outcome <= 2)
        if not _BAND[0] * near <= rate <= _BAND[1] * near or np.count_nonzero(seen) < _FEWEST:
            continue
        observed = float(np.quantile(log.service[seen], quantile))
        arrival = np.sort(log.sent[inside])
        draws = [_quantile(model, arrival, quantile, path, rng) for _ in range(_REPLICAS)]
        known = np.log([draw for draw in draws if draw is not None])
        if known.size < _REPLICAS // 2:
            continue
        centre = float(np.median(known))
        difference = float(np.log(observed)) - centre
        # latencies near saturation are skewed: the spread is that of the side on which the run lies
        side = known[known >= centre] if difference > 0 else known[known <= centre]
        spread = float(np.mean((side - centre) ** 2)) + 0.01**2
        apart.append(difference)
        variance.append(spread)
        done.append(
            ReplayedStage(
                span.start, span.end, rate, observed, float(np.exp(centre)), difference / spread**0.5
            )
        )
    if not done:
        return Replay(quantile, (), 0.0, 0.0)
    weight = 1.0 / np.array(variance)
    shift = float(np.average(apart, weights=weight))
    return Replay(quantile, tuple(done), shift, shift * float(np.sqrt(weight.sum())))


def _quantile(
    model: ServerModel, arrival: Floats, quantile: float, path: Floats | None, rng: np.random.Generator
) -> float | None:
    """One replica's latency quantile (s); None when the server was given up or rejected all."""
    end = model.completions(arrival, rng.random(arrival.size), path=path, crowd=arrival.size + 1)
    latency = end - arrival
    latency = latency[~np.isnan(latency)]
    if not latency.size or latency.max() >= LOST:
        return None
    return float(np.quantile(latency, quantile))
