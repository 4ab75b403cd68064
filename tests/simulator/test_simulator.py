"""The simulated servers themselves, by queueing theory: all accuracy figures rest on them."""

import numpy as np
import pytest

from advisor.domain import Arrivals, Outcome, RampStop, Stage
from tests.simulator.experiment import Experiment
from tests.simulator.servers import FAMILIES, OUTSIDE, Server, _fifo, draw, lognormal
from tests.simulator.truth import capacity, quantile_at, unloaded


def exponential(workers, mean, room=-1):
    run = _fifo(lambda rng, n: rng.exponential(mean, n), workers, room)
    return Server("theory", "M/M/c", mean, workers / mean, run)


def test_truth_of_one_exponential_worker():
    """p95 of M/M/1 is ln 20/(mu - lambda): 0.1 s at 100 - 29.96 req/s."""
    truth = capacity(exponential(1, 0.01), [(0.95, 0.1)])
    assert truth.rate == pytest.approx(100 - np.log(20) / 0.1, rel=4 * truth.error + 0.002)
    assert truth.error < 0.01


def test_mean_wait_of_four_exponential_workers():
    """Erlang C at 80 %."""
    server = exponential(4, 0.01)
    rng = np.random.default_rng(99)
    arrival = np.cumsum(rng.exponential(1 / 320.0, 400_000))
    wait = (server.run(arrival, 1) - arrival)[5000:].mean() - 0.01
    offered = 3.2
    tail = offered**4 / 24 / (1 - 0.8)
    erlang = tail / (sum(offered**k / [1, 1, 2, 6][k] for k in range(4)) + tail)
    assert wait == pytest.approx(erlang * 0.01 / (4 * 0.2), rel=0.05)


def test_rejections_of_a_bounded_queue():
    """M/M/1/5 (four may wait) at 80 %."""
    _, rejected = quantile_at(exponential(1, 0.01, room=4), 80.0, 0.95, 300_000, 3)
    assert rejected == pytest.approx(0.2 * 0.8**5 / (1 - 0.8**6), rel=0.04)


@pytest.mark.parametrize("family", [*FAMILIES, *OUTSIDE])
def test_a_drawn_server_is_the_same_again_and_causal(family):
    """The capacity search truncates arrivals: what was before must not change."""
    one, two = draw(family, 8), draw(family, 8)
    assert one.name == two.name
    arrival = np.sort(np.random.default_rng(0).uniform(0, 300 / one.top, 200))
    whole = one.run(arrival, 5)
    np.testing.assert_array_equal(whole, two.run(arrival, 5))
    early = arrival < 0.5 * arrival[-1]
    before = np.nan_to_num(whole[early], nan=-1.0)
    done = before < arrival[early][-1]  # who left before the arrivals that are cut away
    np.testing.assert_allclose(
        np.nan_to_num(one.run(arrival[early], 5), nan=-1.0)[done], before[done], atol=1e-9
    )
    answered = whole[~np.isnan(whole)] - arrival[~np.isnan(whole)]
    assert (answered > 0).all()


def test_parameters_differ_between_seeds():
    assert len({draw("workers", seed).name for seed in range(30)}) == 30


def test_a_stopped_ramp_ends_past_the_knee_and_keeps_only_what_was_sent():
    server = exponential(1, 0.01)
    experiment = Experiment(server, 1)
    first = experiment.run(Stage("single", Arrivals.SINGLE, 3.0))
    assert np.all(np.diff(first.log.sent) > 0)
    assert np.all(first.log.sent[1:] >= first.log.end[:-1])
    ramp = experiment.run(
        Stage("ramp", Arrivals.RAMP, 90.0, rate=20.0, doubling=5.0, stop=RampStop(latency=0.1))
    )
    assert 70 < 20 * 2 ** ((ramp.end - ramp.start) / 5.0) < 300
    assert ramp.log.sent.max() <= ramp.end
    knee = experiment.run(Stage("knee", Arrivals.POISSON, 10.0, rate=50.0))
    assert knee.start >= ramp.log.end.max()
    assert len(knee.log) == pytest.approx(500, rel=0.15)


def test_rejections_are_told_as_the_servers_own():
    experiment = Experiment(exponential(1, 0.05, room=2), 1)
    result = experiment.run(Stage("volley", Arrivals.VOLLEY, 1.0, count=10))
    assert np.count_nonzero(result.log.outcome == Outcome.REJECTED) == 7


def test_unloaded_latency_is_that_of_the_work():
    assert unloaded(exponential(1, 0.01)) == pytest.approx(0.01 * np.log(20), rel=0.08)


def test_lognormal_has_the_mean_and_spread_asked_for():
    sample = lognormal(np.random.default_rng(0), 0.02, 0.8, 200_000)
    assert sample.mean() == pytest.approx(0.02, rel=0.01)
    assert sample.std() == pytest.approx(0.016, rel=0.03)
