"""The capacity of a known server, by theory."""

import numpy as np
import pytest

from advisor.capacity.identification.model import Form, ServerModel, Slowness
from advisor.capacity.identification.solve import Traffic, excess, explain_infeasible, respond, solve
from advisor.domain import LatencyBound, Slo

EXPONENTIAL = -0.01 * np.log1p(-(np.arange(4000) + 0.5) / 4000)  # quantiles of mean 10 ms


def worker(**changes):
    return ServerModel(Form.WORKERS, 1, (), EXPONENTIAL, **changes)


def slo(*bounds, errors=0.001):
    return Slo(tuple(LatencyBound(q, s) for q, s in bounds), errors)


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.3])
def test_capacity_of_one_exponential_worker(seconds):
    """p95 of M/M/1 is ln 20 / (mu - lambda)."""
    solution = solve(worker(), slo((0.95, seconds)))
    assert solution.rate == pytest.approx(100 - np.log(20) / seconds, rel=0.02)
    assert solution.binding == "p95"
    assert solution.point.quantiles[0.95] == pytest.approx(seconds, rel=0.03)
    assert solution.point.in_flight == pytest.approx(solution.rate / (100 - solution.rate), rel=0.05)


def test_of_several_bounds_the_worst_binds_and_is_named():
    loose = solve(worker(), slo((0.5, 10.0), (0.95, 0.1), (0.99, 10.0)))
    assert loose.binding == "p95"
    tail = solve(worker(), slo((0.5, 10.0), (0.95, 0.1), (0.99, 0.1)))
    assert tail.binding == "p99"
    assert tail.rate == pytest.approx(100 - np.log(100) / 0.1, rel=0.02)
    assert tail.rate < loose.rate


def test_rejections_can_bind_before_latency():
    """M/M/1/5 rejects 0.1 % where (1-r) r^5 / (1-r^6) = 0.001."""
    solution = solve(worker(queue_limit=5), slo((0.95, 1.0)), requests=600_000)
    assert solution.binding == "error_ratio"
    load = solution.rate / 100
    assert (1 - load) * load**5 / (1 - load**6) == pytest.approx(0.001, rel=0.1)


def test_an_objective_below_the_unloaded_latency_has_no_capacity_and_says_why():
    assert solve(worker(), slo((0.95, 0.02))) is None
    text = explain_infeasible(worker(), slo((0.95, 0.02)))
    assert "p95" in text
    assert "20 ms" in text
    assert "replicas cannot fix" in text


def test_errors_that_do_not_depend_on_load_have_no_capacity_either():
    assert solve(worker(error_share=0.02), slo((0.95, 0.2))) is None
    assert "errors" in explain_infeasible(worker(error_share=0.02), slo((0.95, 0.2)))


def test_a_generous_objective_ends_at_saturation():
    solution = solve(worker(), slo((0.95, 1000.0)))
    assert solution.rate <= worker().saturation
    assert solution.rate > 97


def test_a_guess_speeds_up_and_never_decides():
    free = solve(worker(), slo((0.95, 0.1)))
    for near in (20.0, 65.0, 200.0):
        assert solve(worker(), slo((0.95, 0.1)), near=near).rate == pytest.approx(free.rate, rel=0.01)


def test_a_disturbance_costs_capacity_and_can_be_taken_out():
    disturbed = worker(slowness=Slowness(0.2, 1.6, 9.0, 3.0))
    with_it = solve(disturbed, slo((0.95, 0.1))).rate
    without = solve(disturbed.undisturbed, slo((0.95, 0.1))).rate
    assert with_it < 0.8 * without
    assert without == pytest.approx(100 - np.log(20) / 0.1, rel=0.02)
    assert disturbed.saturation == pytest.approx(worker().saturation / (1 + 0.2 * 0.6))


def test_a_constant_delay_is_latency_but_not_work():
    with_delay = solve(worker(delay=0.02), slo((0.95, 0.12)))
    assert with_delay.rate == pytest.approx(100 - np.log(20) / 0.1, rel=0.02)


def test_a_server_with_a_slot_per_request_answers_like_an_idle_one():
    model = ServerModel(Form.WORKERS, None, (), EXPONENTIAL)
    assert model.saturation == np.inf
    point = respond(model, 5000.0, (0.95,), Traffic.poisson(20_000, 0))
    assert point.quantiles[0.95] == pytest.approx(0.01 * np.log(20), rel=0.05)
    assert excess(point, slo((0.95, 0.04)))[0] < 0
