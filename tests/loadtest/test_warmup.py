"""A server that nobody used before is slower at first: found in the data of a loaded stage, not counted."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from advisor.domain import (
    Arrivals,
    LatencyBound,
    Outcome,
    RequestLog,
    Run,
    RunStatus,
    Slo,
    StreamLog,
    VerdictStatus,
)
from advisor.loadtest.histogram import gap_histogram
from advisor.loadtest.verdict import Direct, judge, objective_held
from advisor.loadtest.verdict.warmup import without_warm_up
from advisor.outputs.junit import run_junit
from tests.loadtest.build import log_of, result_of

SLO = Slo((LatencyBound(0.95, 0.15),), 0.01)
WORKERS, MEAN = 2, 0.02


def queue(load: float, seconds: float, seed: int, cold: float = 0.0, factor: float = 1.0) -> RequestLog:
    """First in, first out; service takes `factor` times as long in the first `cold` seconds."""
    rng = np.random.default_rng(seed)
    rate = load * WORKERS / MEAN
    arrival = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
    service = rng.gamma(2, MEAN / 2, arrival.size) * np.where(arrival < cold, factor, 1.0)
    free, latency = [0.0] * WORKERS, np.empty(arrival.size)
    for i, (at, work) in enumerate(zip(arrival.tolist(), service.tolist(), strict=True)):
        end = max(at, free[0]) + work
        heapq.heapreplace(free, end)
        latency[i] = end - at
    return log_of(arrival, latency)


def stage(log: RequestLog, name="load 1", start=0.0, **more):
    return result_of(log, len(log) / 30, 30, name=name, start=start, **more)


@pytest.mark.parametrize(("cold", "factor", "load"), [(3, 3, 0.3), (2, 6, 0.4), (5, 3, 0.3)])
def test_a_cold_start_is_cut_once_its_backlog_is_gone(cold, factor, load):
    found = 0
    for seed in range(10):
        (after,), warm = without_warm_up([stage(queue(load, 30, seed, cold, factor))])
        if warm is not None and warm.over:
            found += 1
            assert 0.8 * cold <= warm.seconds <= 14
            assert len(after.log) + warm.requests == warm.of
            assert after.start == pytest.approx(warm.seconds)
    assert found >= 9


@pytest.mark.parametrize(("load", "most"), [(0.3, 0), (0.6, 0), (0.9, 3)])
def test_waves_of_a_busy_queue_are_no_warm_up(load, most):
    cut = [without_warm_up([stage(queue(load, 30, seed))])[1] for seed in range(30)]
    assert sum(warm is not None for warm in cut) <= most


def test_only_the_first_steady_stage_of_an_unused_server_is_looked_at():
    cold, warm = queue(0.3, 30, 1, 3, 4), queue(0.3, 30, 2)
    stages, found = without_warm_up([stage(cold), stage(cold, "load 2")])
    assert found is not None
    assert found.stage == "load 1"
    assert len(stages[1].log) == len(cold)
    single = stage(warm, "single 1", arrivals=Arrivals.SINGLE)
    assert without_warm_up([single, stage(cold)])[1] is None
    assert without_warm_up([stage(cold, "spike", arrivals=Arrivals.REPLAY)])[1] is None
    assert without_warm_up([]) == ((), None)


def test_the_objective_is_that_of_the_warm_server_and_the_verdict_says_so():
    result = stage(queue(0.3, 30, 1, 4, 8))
    over = result.log.latency > 0.15
    assert over.mean() > 0.05  # with the cold start it would be violated
    made = Run("r", "t", "load", SLO, 0.0, RunStatus.DONE, (result,), judge([result], SLO))
    assert made.verdict.status is VerdictStatus.VALID
    (reason,) = made.verdict.reasons
    assert reason.startswith("the server warmed up in the first ")
    assert reason.endswith("they do not count against the objective")
    assert objective_held(made)[0].status is Direct.MET
    junit = run_junit(made)
    assert 'errors="0"' in junit
    assert reason in junit


def test_a_warm_up_that_may_not_have_ended_leaves_the_verdict_open():
    """Slow for just under half of the stage."""
    log = queue(0.3, 30, 3, 14.0, 2.5)
    verdict = judge([stage(log)], SLO)
    assert verdict.status is VerdictStatus.INCONCLUSIVE
    assert any("may not have ended" in reason for reason in verdict.reasons)


def test_streamed_answers_of_the_beginning_are_cut_too():
    log = queue(0.3, 30, 1, 3, 4)
    times, tokens = log.intended, np.full(len(log), 5)
    streams = StreamLog(times, times, times + 0.01, log.end, tokens, gap_histogram(np.full(9, 0.1)))
    (after,), warm = without_warm_up([stage(log, streams=streams)])
    assert warm is not None
    assert len(after.streams) == len(after.log)
    assert after.streams.intended[0] == after.start


def test_failed_requests_are_cut_with_the_rest_of_the_beginning():
    log = queue(0.3, 30, 1, 3, 4)
    log.outcome[:20] = Outcome.TIMEOUT
    (after,), warm = without_warm_up([stage(log)])
    assert warm is not None
    assert not after.log.failed.any()
