"""Short builders of stages and logs for tests."""

from __future__ import annotations

import numpy as np

from advisor.domain import Arrivals, Outcome, RequestLog, Stage, StageResult


def log_of(intended, latency, outcome=Outcome.OK) -> RequestLog:
    """A log from intended times and latencies (s); `outcome` one for all, or one each."""
    intended = np.asarray(intended, float)
    end = intended + np.asarray(latency, float)
    codes = np.broadcast_to(np.asarray(outcome, np.int8), intended.shape).copy()
    return RequestLog(intended, intended.copy(), end, codes, np.zeros(intended.size, np.int16))


def poisson_log(rate, seconds, latency, rng, start=0.0) -> RequestLog:
    """Poisson arrivals; `latency(times, rng)` gives one latency each."""
    times = np.sort(rng.random(rng.poisson(rate * seconds))) * seconds
    return log_of(start + times, latency(times, rng))


def result_of(log, rate, seconds, name="load 1", arrivals=Arrivals.POISSON, start=0.0, **more) -> StageResult:
    """A finished stage."""
    return StageResult(Stage(name, arrivals, seconds, rate=rate), start, start + seconds, log, **more)
