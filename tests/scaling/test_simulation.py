from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from advisor.demand.history import DemandHistory
from advisor.scaling.fluid import FluidServer
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.simulation import Setting, _proposals, _seen, demand_steps, replay
from tests.scaling.advice import SLO, capacity, point

POLICY = ScalingPolicy(max_replicas=40, startup_seconds=60, cpu_request_cores=1.0, cpu_limit_cores=1.0)
SERVER = FluidServer(capacity(), SLO)


def week(days=7, noise=0.03, seed=0):
    rng = np.random.default_rng(seed)
    minute = np.arange(days * 1440)
    rates = (300 + 200 * np.sin(2 * np.pi * (minute / 1440 - 0.3))) * rng.normal(1, noise, minute.size)
    return DemandHistory(0.0, 60.0, np.maximum(rates, 1.0), np.ones(minute.size, bool))


@pytest.mark.parametrize("rate", [7.0, 30.0, 56.0, 70.0])
def test_the_share_within_the_objective_is_that_of_the_queue(rate):
    exact = 1 - np.exp(-(100 - rate) * 0.1)
    assert SERVER.within(rate, 0.0) == pytest.approx(exact, abs=0.01)


def test_a_backlog_delays_everyone_behind_it():
    assert SERVER.within(50.0, 5.0) < SERVER.within(50.0, 0.0)
    assert SERVER.within(50.0, 11.0) == 0.0  # 11 waiting at 100 req/s: more than the 100 ms


def test_cpu_and_in_flight_follow_the_fit():
    assert SERVER.cores(35.0) == pytest.approx(0.37)
    assert SERVER.in_flight(56.0, 2.0) == pytest.approx(56 / 44 + 2, rel=0.05)
    assert FluidServer(capacity(cpu_cores=None), SLO).cores(35.0) is None


def test_a_curve_with_one_quantile_has_an_exponential_tail():
    single = capacity(curve=tuple(replace(p, quantiles={0.95: p.quantiles[0.95]}) for p in capacity().curve))
    assert FluidServer(single, SLO).within(30.0, 0.0) == pytest.approx(1 - np.exp(-7.0), abs=0.01)


def test_the_strictest_of_two_bounds_counts():
    both = type(SLO)((*SLO.latency, replace(SLO.latency[0], quantile=0.99)))
    loose, strict = FluidServer(capacity(), SLO), FluidServer(capacity(), both)
    assert strict.within(60.0, 0.0) < loose.within(60.0, 0.0)


def test_the_fluid_agrees_with_every_request_of_a_queue():
    """Eight hours of M/M/1 about its capacity, and five minutes of overload, request by request."""
    rng = np.random.default_rng(5)
    minute = np.arange(480)
    rates = 50 + 35 * np.sin(2 * np.pi * minute / 160)
    rates[200:205] = 130.0
    demand = np.repeat(rates, 4)
    counts = rng.poisson(demand * 15.0)
    spread = np.repeat(np.arange(demand.size) * 15.0, counts)
    arrival = np.sort(spread + rng.uniform(0, 15, spread.size))
    work = rng.exponential(0.01, arrival.size)
    backlog = np.cumsum(work[:-1]) - (arrival[1:] - arrival[0])  # Lindley
    wait = np.concatenate([[0.0], backlog - np.minimum(np.minimum.accumulate(backlog), 0.0)])
    in_time = wait + work <= 0.1
    at = (arrival // 60).astype(int)
    share = np.bincount(at, in_time, 480) / np.bincount(at, minlength=480)
    good = share >= 0.95

    found = replay(SERVER, demand.tolist(), Setting("one", minimum=1, maximum=1), 60.0)

    assert found.minutes_within_slo == pytest.approx(good.mean(), abs=0.02)
    assert found.requests_within_slo == pytest.approx((rates * good).sum() / rates.sum(), abs=0.03)


def test_steady_demand_takes_what_it_takes():
    """300 req/s at 45 a replica: 7 replicas within the tolerance of 10 %, nothing ever changes."""
    found = replay(SERVER, [300.0] * 5760, Setting("x", rps=45.0), 60.0)
    assert found.most_replicas == 7
    assert found.replica_hours == pytest.approx(7 * 24)
    assert found.scalings_per_day == 0
    assert found.requests_within_slo == 1.0


def test_too_high_a_target_breaks_the_objective_and_costs_less():
    demand, _ = demand_steps(week(2))
    careful = replay(SERVER, demand, Setting("careful", rps=50.0), 60.0)
    greedy = replay(SERVER, demand, Setting("greedy", rps=80.0), 60.0)
    assert careful.requests_within_slo > 0.999
    assert greedy.requests_within_slo < 0.5
    assert greedy.replica_hours < careful.replica_hours


def test_a_step_is_late_by_the_start_up():
    """Demand trebles: the objective is missed until new pods serve, and the longer they start the longer."""
    demand = [100.0] * 400 + [300.0] * 400
    bad = []
    for startup in (15.0, 120.0, 300.0):
        found = replay(SERVER, demand, Setting("x", rps=45.0, maximum=30), startup)
        bad.append((1 - found.minutes_within_slo) * 200)
    assert 1 <= bad[0] < bad[1] < bad[2]
    assert bad[2] - bad[1] == pytest.approx(3, abs=1.5)


def test_a_pod_counts_by_its_cpu_once_it_was_sampled_ready():
    """Three of five pods were ready when the newest sample was taken: the others count 0 on the way up."""
    cores = deque([(1.2, 3), (0.9, 5), (0.9, 5)], maxlen=3)

    def proposed(**setting):
        return _proposals(Setting("x", **setting), 0.0, deque(), cores, 5, 5, 2)

    assert proposed(cpu_percent=60) == [6]  # 3 · 1.2 / 5 is 72 %: ⌈1.2 · 5⌉
    assert proposed(cpu_cores=0.6) == [6]
    assert proposed(cpu_percent=110) == [5]  # with them 65 %: the direction would flip
    assert proposed(cpu_percent=60, cpu_request_cores=4.0) == [2]  # down by the three that were sampled


def test_the_rate_is_a_minute_mean_half_a_minute_old():
    seen = _seen([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0], lag=2)
    assert seen == pytest.approx([10.0, 10.0, 10.0, 12.5, 17.5, 25.0, 35.0])


def test_no_more_than_the_fixed_count():
    found = replay(SERVER, [150.0] * 960, Setting("x", minimum=3, maximum=3), 60.0)
    assert (found.most_replicas, found.scalings_per_day) == (3, 0.0)
    assert found.replica_hours == pytest.approx(12.0)


def test_a_runaway_is_said():
    """A queue-like signal far too steep: it ends at its maximum and stays there."""
    found = replay(SERVER, [150.0] * 5760, Setting("x", in_flight=0.02, maximum=60), 60.0)
    assert found.most_replicas == 60
    assert not found.stable


def test_gaps_are_filled_before_the_replay():
    history = week(2)
    history.known[700:760] = False
    history.rates[700:760] = 0.0
    demand, days = demand_steps(history)
    assert days == pytest.approx(2.0)
    assert min(demand[700 * 4 : 760 * 4]) > 50


def test_a_fluid_server_needs_a_curve():
    with pytest.raises(ValueError, match="curve"):
        FluidServer(capacity(curve=()), SLO)
    assert FluidServer(capacity(curve=(point(35.0),), saturation_rps=None), SLO).saturation > 70
