"""Logs of simulated servers, for the tests of identification."""

import numpy as np

from advisor.domain import Arrivals, LatencyBound, Outcome, RampStop, RequestLog, Slo, Stage
from tests.simulator.experiment import Experiment
from tests.simulator.truth import unloaded


def log_of(sent, end, outcome=None):
    """A request log from times; NaN ends are rejections."""
    sent, end = np.asarray(sent, float), np.asarray(end, float)
    rejected = np.isnan(end)
    codes = np.where(rejected, Outcome.REJECTED, Outcome.OK) if outcome is None else outcome
    end = np.where(rejected, sent + 1e-3, end)
    return RequestLog(sent, sent, end, np.asarray(codes, np.int8), np.zeros(sent.size, np.int16))


def poisson(rate, seconds, seed):
    """Arrival times (s)."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))


def run_into_overload(server, rates, *, multiple=3.0, seed=0, jitter=0.0, seconds=20.0):
    """Single stream, ramp, volley, Poisson stages at `rates`; SLO of `multiple` × unloaded p95."""
    slo = Slo((LatencyBound(0.95, multiple * unloaded(server)),))
    experiment = Experiment(server, seed, jitter)
    first = experiment.run(Stage("single", Arrivals.SINGLE, 5.0))
    median = float(np.median(first.log.service))
    stop = RampStop(max(min(slo.tightest, 5 * median), 4 * median))
    experiment.run(Stage("ramp", Arrivals.RAMP, 90.0, rate=0.3 / median, doubling=5.0, stop=stop))
    experiment.run(Stage("volley", Arrivals.VOLLEY, 1.0, count=40))
    for rate in rates:
        experiment.run(Stage("knee", Arrivals.POISSON, seconds, rate=rate))
    return experiment, slo


def whole(experiment):
    """The log of all stages."""
    return RequestLog.concat(result.log for result in experiment.history)
