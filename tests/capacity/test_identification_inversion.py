"""Exact inversion: the true server gives back the very works that were put in, whatever the load."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.capacity.identification.fit import Candidate, invert, scored
from advisor.capacity.identification.inversion import UNLIMITED, closed_network, log_likelihood
from advisor.capacity.identification.model import QUOTA_PERIOD, Form
from advisor.capacity.identification.timeline import build
from tests.capacity.logs import poisson
from tests.simulator import kernels

NONE = np.zeros(0)
NOBODY = np.zeros(0)


def fifo(arrival, work, workers, room=-1):
    return kernels.first_in_first_out(arrival, work, workers, room, NONE, 1.0, NONE, 0.0)


@settings(max_examples=40, deadline=None)
@given(
    workers=st.integers(1, 12),
    load=st.floats(0.1, 2.0),
    cv=st.floats(0.0, 2.0),
    seed=st.integers(0, 10_000),
)
def test_works_of_first_in_first_out_workers_come_back(workers, load, cv, seed):
    rng = np.random.default_rng(seed)
    arrival = poisson(load * workers / 0.05, 20.0 / workers, seed)
    work = rng.gamma(1 / max(cv, 0.05) ** 2, 0.05 * max(cv, 0.05) ** 2, arrival.size) + 1e-4
    timeline = build(arrival, fifo(arrival, work, workers), NOBODY)
    got, speed, _ = invert(timeline, Candidate(0.0, Form.WORKERS, workers, ()))
    np.testing.assert_allclose(got, work, atol=1e-6)
    assert (speed == 1.0).all()


@settings(max_examples=30, deadline=None)
@given(
    cores=st.integers(0, 4),
    threads=st.integers(1, 40),
    sigma=st.floats(0.0, 0.2),
    kappa=st.floats(0.0, 0.01),
    seed=st.integers(0, 10_000),
)
def test_works_of_shared_and_contended_servers_come_back(cores, threads, sigma, kappa, seed):
    rng = np.random.default_rng(seed)
    arrival = poisson(60.0, 10.0, seed)
    work = rng.lognormal(-3.5, 0.6, arrival.size)
    if cores:
        sigma = kappa = 0.0
        end = kernels.shared(arrival, work, cores, threads, 0.0, 0.0, 0.0, 0.1, 0.0)
        candidate = Candidate(0.0, Form.QUOTA, threads, (1e6, float(cores)))  # a quota nobody reaches
    else:
        end = kernels.shared(arrival, work, 0, threads, sigma, kappa, 0.0, 0.1, 0.0)
        candidate = Candidate(0.0, Form.CONTENTION, threads, (sigma, kappa))
    got, _, _ = invert(build(arrival, end, NOBODY), candidate)
    np.testing.assert_allclose(got, work, rtol=1e-6, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(quota=st.sampled_from([0.5, 1.0, 2.0, 3.0]), phase=st.floats(-0.1, 0.0), seed=st.integers(0, 10_000))
def test_works_under_a_quota_come_back(quota, phase, seed):
    rng = np.random.default_rng(seed)
    arrival = poisson(1.1 * quota / 0.02, 20.0, seed)
    work = rng.lognormal(np.log(0.02), 0.4, arrival.size)
    end = kernels.shared(arrival, work, 6, 8, 0.0, 0.0, quota * QUOTA_PERIOD, QUOTA_PERIOD, phase)
    got, _, _ = invert(build(arrival, end, NOBODY), Candidate(0.0, Form.QUOTA, 8, (quota, 6.0), 0.0, phase))
    np.testing.assert_allclose(got, work, rtol=1e-6, atol=1e-6)


def test_the_true_number_of_workers_is_likelier_than_its_neighbours():
    arrival = poisson(1.05 * 4 / 0.05, 30.0, 7)
    work = np.random.default_rng(7).lognormal(np.log(0.05), 0.5, arrival.size)
    timeline = build(arrival, fifo(arrival, work, 4), NOBODY)
    scores = {
        m: scored(timeline, Candidate(0.0, Form.WORKERS, m, ())).score for m in (2, 3, 4, 5, 6, UNLIMITED)
    }
    assert max(scores, key=scores.get) == 4


def test_the_density_is_that_of_the_works_and_a_slow_finish_costs_its_speed():
    rng = np.random.default_rng(3)
    work = rng.lognormal(-3.0, 0.5, 20_000)
    one = np.ones(work.size)
    # E[ln f(ln w) - ln w] of a lognormal is -(ln(sd sqrt(2 pi e)) + mean)
    exact = work.size * (-(np.log(0.5 * np.sqrt(2 * np.pi * np.e))) + 3.0)
    assert log_likelihood(work, one, 0.03, 0.0) == pytest.approx(exact, rel=0.01)
    halved = log_likelihood(work, 0.5 * one, 0.03, 0.0)
    assert halved == pytest.approx(log_likelihood(work, one, 0.03, 0.0) + work.size * np.log(0.5), rel=1e-9)


def test_a_work_below_zero_counts_against_the_candidate():
    work = np.full(1000, 0.01) * np.random.default_rng(1).lognormal(0, 0.2, 1000)
    broken = work.copy()
    broken[:10] = -0.01
    one = np.ones(1000)
    assert log_likelihood(broken, one, 0.03, 0.0) < log_likelihood(work, one, 0.03, 0.0) - 100
    assert log_likelihood(-work, one, 0.03, 0.0) == -1e12


def test_a_closed_network_without_waiting_is_processor_sharing():
    speeds = closed_network(1.0 - 1e-12, 2.0, 50, 60)
    np.testing.assert_allclose(speeds[1:51], np.minimum(1.0, 2.0 / np.arange(1, 51)), rtol=1e-6)


def test_a_closed_network_with_half_its_time_waiting_matches_the_machine_repairman():
    # one CPU, CPU and waiting both 1 s on average: X(n) = 1 - p0 of M/M/1//n with rho = 1
    speeds = closed_network(0.5, 1.0, 20, 21)
    for n in (1, 2, 5, 10):
        weights = [1.0]
        for k in range(n):
            weights.append(weights[-1] * (n - k))
        busy = 1.0 - weights[0] / sum(weights)
        alone = 0.5
        assert speeds[n] == pytest.approx(busy / n / alone, rel=1e-9)
