from dataclasses import replace

import numpy as np
import pytest

from advisor.demand.history import DemandHistory
from advisor.domain import Limit
from advisor.scaling.backtest import backtest
from advisor.scaling.simulation import Setting
from tests.scaling.advice import SLO, capacity
from tests.scaling.test_simulation import POLICY, week


def test_the_advice_holds_and_cpu_70_does_not():
    found = backtest(capacity(), SLO, POLICY, week(2))
    names = [outcome.name for outcome in found.simulation.outcomes]
    assert names == ["advised", "CPU 50 %", "CPU 70 %"]
    ours, half, most = found.simulation.outcomes
    assert ours.requests_within_slo >= 0.999
    assert most.requests_within_slo < 0.95
    assert ours.replica_hours < half.replica_hours
    assert found.simulation.days == pytest.approx(2.0)
    behaviour = found.behaviour
    assert behaviour.down_window_seconds in (300, 900, 1800)
    assert behaviour.maximum == 2 * ours.most_replicas
    assert "twice the" in behaviour.why_maximum
    assert "the cheapest that kept 99.9 %" in behaviour.why_down_window
    assert all(f"{window} s: 100.00 %, " in behaviour.why_down_window for window in (300, 900, 1800))


def test_without_cpu_there_is_no_cpu_baseline_and_cost_is_priced():
    policy = replace(POLICY, cost_per_replica_hour=0.5)
    today = Setting("today", rps=30.0, maximum=40)
    found = backtest(capacity(cpu_cores=None), SLO, policy, week(2), today=today)
    ours, theirs = found.simulation.outcomes
    assert (ours.name, theirs.name) == ("advised", "today")
    assert ours.cost == pytest.approx(0.5 * ours.replica_hours)
    assert theirs.replica_hours > ours.replica_hours


def test_nothing_to_simulate_is_none():
    assert backtest(capacity(curve=()), SLO, POLICY, week(1)) is None
    sleeping = capacity(cpu_cores=0.03, cpu_idle_cores=0.01, limited_by=Limit.WORKERS)
    assert backtest(sleeping, SLO, replace(POLICY, metrics_adapter=False), week(1)) is None
    short = DemandHistory(0.0, 60.0, np.full(30, 10.0), np.ones(30, bool))
    assert backtest(capacity(), SLO, POLICY, short) is None


def test_steps_that_no_window_holds_raise_the_minimum():
    """Demand trebles each half hour, by a start-up of three minutes: only replicas that are there hold it."""
    minute = np.arange(2 * 1440)
    rates = np.where(minute % 30 < 10, 300.0, 100.0)
    steps = DemandHistory(0.0, 60.0, rates, np.ones(minute.size, bool))
    found = backtest(capacity(), SLO, replace(POLICY, startup_seconds=180.0), steps)
    assert found.simulation.outcomes[0].requests_within_slo >= 0.999
    assert found.behaviour.minimum > 1 or found.behaviour.down_window_seconds == 1800
