"""The simulator of the fitted server: equal to that of the tests, and right by queueing theory."""

import numpy as np
import pytest

from advisor.capacity.identification.model import Batching, Form, ServerModel, Slowness
from advisor.capacity.identification.simulation import LOST, serve
from tests.capacity.logs import poisson
from tests.simulator import kernels

NONE = np.zeros(0)
ONES = np.append(0.0, np.ones(600))


def served(arrival, work, slots, *, speeds=ONES, limit=-1, slowdown=NONE, block=1.0, quota=0.0, crowd=10**6):
    return serve(arrival, work, slots, speeds, limit, slowdown, block, quota, 0.1, crowd)


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("limit", [-1, 12])
def test_workers_agree_with_the_other_simulator(slots, limit):
    arrival = poisson(1.1 * slots / 0.03, 20.0, 4)
    work = np.random.default_rng(4).lognormal(np.log(0.03), 0.7, arrival.size)
    room = -1 if limit < 0 else limit - slots
    expected = kernels.first_in_first_out(arrival, work, slots, room, NONE, 1.0, NONE, 0.0)
    np.testing.assert_allclose(served(arrival, work, slots, limit=limit), expected, atol=1e-9)


@pytest.mark.parametrize("quota", [0.0, 0.15])
def test_shared_cores_and_quotas_agree_with_the_other_simulator(quota):
    arrival = poisson(70.0, 30.0, 5)
    work = np.random.default_rng(5).lognormal(np.log(0.02), 0.7, arrival.size)
    speeds = np.minimum(1.0, 4.0 / np.maximum(np.arange(601), 1.0))
    expected = kernels.shared(arrival, work, 4, 10, 0.0, 0.0, quota, 0.1, 0.0)
    np.testing.assert_allclose(served(arrival, work, 10, speeds=speeds, quota=quota), expected, atol=1e-7)


@pytest.mark.parametrize("when_free", [False, True])
def test_batches_agree_with_the_other_simulator(when_free):
    arrival = poisson(300.0, 20.0, 6)
    seconds = 0.02 + 0.002 * np.arange(17)
    first = np.arange(17)
    batching = Batching(16, 0.01, 0.02, 0.002, seconds, first, first + 1, when_free)
    model = ServerModel(Form.BATCHING, 1, (), np.array([0.03]), batching=batching)
    got = model.completions(arrival, np.random.default_rng(6).random(arrival.size))
    expected = kernels.batches(arrival, seconds, 16, 0.01, np.ones(arrival.size + 1), when_free)
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_one_exponential_worker_has_the_latencies_of_theory():
    """M/M/1 at 70 %: latency is exponential with mean 1/(mu - lambda)."""
    rng = np.random.default_rng(8)
    arrival = np.cumsum(rng.exponential(1 / 70.0, 400_000))
    latency = served(arrival, rng.exponential(0.01, arrival.size), 1) - arrival
    assert latency[10_000:].mean() == pytest.approx(1 / 30.0, rel=0.04)
    assert np.quantile(latency[10_000:], 0.95) == pytest.approx(np.log(20) / 30.0, rel=0.05)


def test_processor_sharing_is_insensitive_to_the_distribution_of_work():
    """M/G/1-PS at 60 %: the mean is that of M/M/1, for constant and for heavy works."""
    rng = np.random.default_rng(9)
    speeds = 1.0 / np.maximum(np.arange(601), 1.0)
    arrival = np.cumsum(rng.exponential(1 / 60.0, 300_000))
    for work in (np.full(arrival.size, 0.01), rng.lognormal(np.log(0.01) - 0.5, 1.0, arrival.size)):
        latency = served(arrival, work, 10**9, speeds=speeds) - arrival
        assert latency[10_000:].mean() == pytest.approx(0.01 / 0.4, rel=0.05)


def test_a_bounded_queue_rejects_as_often_as_theory_says():
    """M/M/1/K at 90 % with room for 5: blocked (1-r) r^K / (1 - r^(K+1))."""
    rng = np.random.default_rng(10)
    arrival = np.cumsum(rng.exponential(1 / 90.0, 300_000))
    end = served(arrival, rng.exponential(0.01, arrival.size), 1, limit=5)
    assert np.isnan(end).mean() == pytest.approx(0.1 * 0.9**5 / (1 - 0.9**6), rel=0.03)


def test_a_slow_machine_stretches_exactly_the_slow_blocks():
    slowdown = np.array([1.0, 2.0])
    end = served(np.array([0.0, 0.9, 1.5]), np.array([0.5, 0.2, 0.1]), 1, slowdown=slowdown)
    assert end.tolist() == pytest.approx([0.5, 1.2, 1.7])


def test_an_overloaded_server_is_given_up_instead_of_simulated_for_ever():
    arrival = poisson(300.0, 100.0, 1)
    end = served(arrival, np.full(arrival.size, 0.01), 1, crowd=500)
    assert (end[-100:] - arrival[-100:] >= LOST).all()


def test_spells_have_the_share_and_length_they_are_given():
    chain = Slowness(0.2, 1.5, 12.0, 3.0).chain(3)
    slow = chain == 1.5
    assert slow.mean() == pytest.approx(0.2, abs=0.03)
    spells = np.count_nonzero(np.diff(slow.astype(int)) == 1)
    assert 3.0 * slow.sum() / spells == pytest.approx(12.0, rel=0.15)
