"""Does the server that was measured still explain production? Pure."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from advisor.capacity.identification.model import ServerModel
from advisor.capacity.identification.replay import replay
from advisor.capacity.identification.seen import spans_between_idle
from advisor.capacity.identification.timeline import from_log
from advisor.capacity.traffic import FEWEST
from advisor.domain import Drift, RequestLog

_NEWEST = 10_000  # requests that are looked at
_NOTABLE = float(np.log(1.15))  # latency that is less off says nothing about the capacity
_UNLIKELY = 1e-3
_FITTED = 0.03  # ln units by which a good fit to a run may be off itself


def drift_of(model: ServerModel, log: RequestLog, quantile: float, *, seed: int = 0) -> Drift | None:
    """The newest requests of one replica through the model, under their own arrivals; None with too few.

    Compared is the latency `quantile`. It drifted where it is more than 15 % off, in either direction, and
    chance gives such a difference in less than 0.1 % of cases.
    """
    newest = log.select(np.arange(len(log)) >= len(log) - _NEWEST)
    timeline = from_log(newest)
    if len(timeline) < FEWEST:
        return None
    check = replay(model, newest, spans_between_idle(timeline), quantile, None, seed=seed)
    if not check.stages:
        return None
    chance = abs(check.shift / check.z) if check.z else 0.0
    probability = 2.0 * float(norm.sf(abs(check.shift) / np.hypot(chance, _FITTED)))
    off = abs(check.shift) > _NOTABLE and probability < _UNLIKELY
    return Drift(float(np.exp(check.shift)), probability, off)
