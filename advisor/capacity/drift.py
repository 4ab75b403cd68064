"""Does the server that was measured still explain production? Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import norm

from advisor.capacity.identification.model import ServerModel
from advisor.capacity.identification.replay import replay
from advisor.capacity.identification.seen import spans_between_idle
from advisor.capacity.identification.timeline import from_log
from advisor.capacity.traffic import FEWEST
from advisor.domain import Drift, Floats, RequestLog

_NEWEST = 10_000  # requests that are looked at
_NOTABLE = float(np.log(1.1))  # of median and tail: one that is less off says little about the capacity
_LARGE = float(np.log(1.5))  # of the tail alone, as when places for requests were lost; a fit may err by 25 %
_UNLIKELY = 1e-3
_FITTED = 0.03  # ln units by which a good fit to a run may be off itself
_RESAMPLES = 16


def drift_of(model: ServerModel, log: RequestLog, quantile: float, *, seed: int = 0) -> Drift | None:
    """The newest requests of one replica through the model, under their own arrivals; None with too few.

    Compared are the latency `quantile`, which gives the ratio, and the median. It drifted where chance, now
    or in the run that was fitted, gives such a difference in less than 0.1 % of cases, and both are more than
    10 % off in one direction, or the quantile by half: tails far from the load of a run may be off by a
    quarter in a good fit.
    """
    newest = log.select(np.arange(len(log)) >= len(log) - _NEWEST)
    timeline = from_log(newest)
    if len(timeline) < FEWEST:
        return None
    spans = spans_between_idle(timeline)
    tail, middle = (replay(model, newest, spans, q, None, seed=seed) for q in (quantile, 0.5))
    if not tail.stages:
        return None
    chance = abs(tail.shift / tail.z) if tail.z else 0.0
    known = np.hypot(_FITTED, _sampling_error(model, timeline.arrival, quantile, seed))
    probability = 2.0 * float(norm.sf(abs(tail.shift) / np.hypot(chance, known)))
    both = tail.shift * middle.shift > 0 and min(abs(tail.shift), abs(middle.shift)) > _NOTABLE
    drifted = probability < _UNLIKELY and (both or abs(tail.shift) > _LARGE)
    return Drift(float(np.exp(tail.shift)), probability, drifted)


def _sampling_error(model: ServerModel, arrival: Floats, quantile: float, seed: int) -> float:
    """Ln deviation of the latency quantile because the works are a sample of those there are (bootstrap).

    The draws are the same for all: what differs is the works, not the chance that `replay` tells.
    """
    rng = np.random.default_rng(seed)
    uniform = rng.random(arrival.size)
    values = []
    for _ in range(_RESAMPLES):
        other = replace(model, work=np.sort(rng.choice(model.work, model.work.size)))
        latency = other.completions(arrival, uniform, seed=seed, crowd=arrival.size + 1) - arrival
        if not np.isnan(latency).all():
            values.append(float(np.log(np.nanquantile(latency, quantile))))
    return float(np.std(values)) if values else 0.0
