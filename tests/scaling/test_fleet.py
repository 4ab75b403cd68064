from dataclasses import replace

import numpy as np
import pytest

from advisor.demand.history import DemandHistory
from advisor.domain import Demand
from advisor.scaling.fleet import fleet, past
from advisor.scaling.fluid import FluidServer
from advisor.scaling.policy import ScalingPolicy
from tests.scaling.advice import SLO, capacity

POLICY = ScalingPolicy(cost_per_replica_hour=0.25)


def judged(count, rps=None, policy=POLICY, history=None, **seen):
    demand = None if rps is None else Demand(rps, "asked")
    return fleet(count, capacity(**seen), SLO, policy, demand, history)


def history(rates):
    rates = np.asarray(rates, dtype=float)
    return DemandHistory(0.0, 60.0, rates, np.ones(rates.size, bool))


def test_what_three_replicas_hold():
    found = judged(3)
    assert found.rps == 3 * 65
    assert found.interval == (3 * 65, 3 * 75)
    assert found.cost_per_hour == 0.75
    assert found.why == "3 replicas hold 3 × 65 = 195 req/s by the lower bound."


def test_those_that_may_fail_hold_nothing():
    found = judged(3, policy=replace(POLICY, failure_tolerance=1))
    assert found.rps == 2 * 65
    assert "with 1 failed 130 req/s" in found.why
    alone = judged(1, 10, replace(POLICY, failure_tolerance=1))
    assert alone.rps == 0
    assert "none of them is left" in alone.why


@pytest.mark.parametrize("rps", [60.0, 150.0, 200.0])
def test_at_a_demand_each_answers_as_the_queue_does(rps):
    """An M/M/1 queue: p95 = ln 20 / (μ − λ), and 1 − e^(−(μ−λ)·0.1 s) of the answers are in time."""
    found = judged(3, rps)
    left = 100 - rps / 3
    assert found.latency[0.95] == pytest.approx(np.log(20) / left, rel=0.03)
    assert found.within_slo == pytest.approx(1 - np.exp(-left * 0.1), abs=0.01)
    assert "in time" in found.why


def test_beyond_saturation_no_answer_is_in_time():
    found = judged(3, 400)
    assert (found.latency, found.within_slo) == ({}, 0.0)
    assert "205% of that" in found.why


def test_the_past_counts_minutes_and_the_backlog_that_they_leave():
    """2 replicas of 100 req/s: ten minutes at 250 leave 50·600 waiting, which 60 req/s end in 500 s."""
    rates = np.full(120, 100.0)
    rates[30:40], rates[40:60] = 250.0, 140.0
    days, minutes, requests = past(FluidServer(capacity(), SLO), 2, history(rates))
    assert days == pytest.approx(120 / 1440)
    missed = 10 + np.ceil(500 / 60) - 1  # in the last one the backlog is gone
    assert minutes == pytest.approx(1 - missed / 120)
    assert requests == pytest.approx(1 - (10 * 250 + (missed - 10) * 140) / rates.sum())


def test_without_a_curve_only_the_arithmetic():
    found = judged(3, 90, history=history(np.full(120, 90.0)), curve=())
    assert (found.latency, found.within_slo, found.days) == ({}, None, None)
    assert found.why == "3 replicas hold 3 × 65 = 195 req/s by the lower bound; 90 req/s are 46% of that."


def test_the_past_is_said():
    found = judged(2, 90, history=history(np.full(120, 90.0)))
    assert (found.minutes_within_slo, found.requests_within_slo) == (1.0, 1.0)
    assert "over the last 0.0833 days 100.00 % of minutes would have held the objective" in found.why
