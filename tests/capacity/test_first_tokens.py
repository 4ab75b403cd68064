"""Objectives on the first token of streamed answers."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.capacity.estimate import quick_estimate
from advisor.capacity.first_tokens import as_whole_answers
from advisor.domain import Arrivals, Histogram, LatencyBound, Slo, StreamLog
from tests.capacity.loads import answer_of, slo
from tests.loadtest.build import log_of, result_of
from tests.simulator import kernels

NONE = np.zeros(0)

FIRST, FURTHER, SLOTS = 0.05, 0.1, 4  # s to the first token and for the rest, of each answer; at once


def answered(arrival):
    """When the slots of a language model server have answered, first in first out."""
    work = np.full(arrival.size, FIRST + FURTHER)
    return kernels.first_in_first_out(arrival, work, SLOTS, -1, NONE, 1.0, NONE, 0.0)


def stage_of(name, arrivals, sent, start, seconds, rate=0.0):
    end = answered(sent)
    log = log_of(start + sent, end - sent)
    first = log.end - FURTHER
    tokens = np.full(len(log), 6, np.int64)
    streams = StreamLog(log.intended, log.sent, first, log.end, tokens, Histogram(np.ones(1), np.zeros(2)))
    return result_of(log, rate, seconds, name, arrivals, start, streams=streams)


def through_the_knee(truth):
    rng, now = np.random.default_rng(3), 10.0
    alone = np.arange(60) * (FIRST + FURTHER + 1e-4)
    stages = [stage_of("single 1", Arrivals.SINGLE, alone, 0.0, 9.5)]
    for share in (0.5, 1.3, 0.95, 1.0, 0.9):
        sent = np.sort(rng.random(rng.poisson(share * truth * 60))) * 60
        stages.append(stage_of(f"knee {share}", Arrivals.POISSON, sent, now, 60.0, share * truth))
        now += 90.0
    return stages


def true_capacity(seconds):
    """The highest rate (req/s) with p95 of the first token within `seconds`, by bisection."""
    low, high = 1.0, SLOTS / (FIRST + FURTHER)
    gaps = np.random.default_rng(1).exponential(size=100_000)
    for _ in range(12):
        rate = (low + high) / 2
        sent = np.cumsum(gaps) / rate
        held = np.quantile(answered(sent) - FURTHER - sent, 0.95) <= seconds
        low, high = (rate, high) if held else (low, rate)
    return low


@pytest.mark.parametrize("solve", [answer_of, quick_estimate])
def test_the_capacity_holds_a_bound_on_the_first_token_alone(solve):
    truth = true_capacity(0.3)
    assert truth < 0.95 * SLOTS / (FIRST + FURTHER)
    found = solve(through_the_knee(truth), Slo((), ttft=(LatencyBound(0.95, 0.3),)))
    assert found.rps == pytest.approx(truth, rel=0.05)


def test_the_tighter_of_two_bounds_counts():
    stages = through_the_knee(20.0)
    for bound, expected in ((0.12, 0.12), (1.0, 0.1 + FURTHER)):
        objective = replace(slo(bound), ttft=(LatencyBound(0.95, 0.1),))
        whole, how = as_whole_answers(stages, objective)
        assert whole.latency[0].seconds == pytest.approx(expected)
        assert "100 ms" in how


def test_without_streams_or_such_bounds_nothing_changes():
    [single, *_] = through_the_knee(20.0)
    objective = replace(slo(0.1), ttft=(LatencyBound(0.95, 0.1),))
    assert as_whole_answers([replace(single, streams=None)], objective) == (objective, None)
    assert as_whole_answers([single], slo(0.1)) == (slo(0.1), None)
