"""From a log to a capacity, with its check, its refusals and what they say."""

import dataclasses

import numpy as np
import pytest

from advisor.capacity.identification import Form, Identification, ServerModel, identify, solve
from advisor.domain import Arrivals, LatencyBound, Outcome, Refusal, RequestLog, Slo, Stage
from tests.capacity.logs import log_of, poisson, run_into_overload, whole
from tests.simulator import kernels
from tests.simulator.servers import OUTSIDE, draw
from tests.simulator.truth import capacity, unloaded

NONE = np.zeros(0)


@pytest.fixture(scope="module")
def case():
    """A server of four workers, its run and its truth."""
    server = draw("workers", 11)
    experiment, slo = run_into_overload(server, [0.9 * server.top, 0.95 * server.top, 1.1 * server.top])
    truth = capacity(server, [(b.quantile, b.seconds) for b in slo.latency], requests=100_000, replicas=2)
    return experiment, slo, truth


@pytest.fixture(scope="module")
def found(case):
    experiment, slo, _ = case
    return identify(whole(experiment), slo, stages=experiment.history, seed=3)


def test_the_capacity_and_everything_beside_it(case, found):
    experiment, _, truth = case
    assert isinstance(found, Identification)
    assert found.rps == pytest.approx(truth.rate, rel=0.04)
    assert found.interval[0] < truth.rate < found.interval[1]
    assert found.interval[1] / found.interval[0] < 1.25
    assert found.binding == "p95"
    assert found.saturation_rps == pytest.approx(experiment.server.top, rel=0.04)
    assert found.undisturbed_rps == pytest.approx(found.rps, rel=0.02)
    assert found.requests == len(whole(experiment))
    assert found.top_rate > truth.rate
    assert "workers, first-in-first-out" in found.description
    assert found.in_flight == pytest.approx(
        next(p.in_flight for p in found.curve if p.rate == pytest.approx(found.rps, rel=0.02)), rel=0.1
    )


def test_the_curve_rises_and_meets_the_objective_at_the_capacity(case, found):
    _, slo, _ = case
    assert len(found.curve) >= 8
    assert [p.rate for p in found.curve] == sorted(p.rate for p in found.curve)
    latencies = [p.quantiles[0.95] for p in found.curve]
    assert latencies == sorted(latencies)
    at = min(found.curve, key=lambda p: abs(p.rate - found.rps))
    assert at.quantiles[0.95] == pytest.approx(slo.tightest, rel=0.3)


def test_the_replay_agrees_with_the_run(found):
    assert len(found.replay.stages) >= 2
    assert found.replay.probability > 1e-3
    assert all(stage.observed > 0 and stage.simulated > 0 for stage in found.replay.stages)


def test_the_same_log_and_seed_give_the_same_answer(case, found):
    experiment, slo, _ = case
    again = identify(whole(experiment), slo, stages=experiment.history, seed=3)
    assert (again.rps, again.interval, again.replay) == (found.rps, found.interval, found.replay)


def test_stages_may_be_times_and_rates(case, found):
    experiment, slo, _ = case
    spans = [
        (r.start, r.end, r.stage.rate) for r in experiment.history if r.stage.arrivals is Arrivals.POISSON
    ]
    assert identify(whole(experiment), slo, stages=spans, seed=3).rps == found.rps


def test_a_quick_look_is_near_the_full_one(case, found):
    experiment, slo, _ = case
    quick = identify(whole(experiment), slo, stages=experiment.history, seed=3, effort="quick")
    assert quick.rps == pytest.approx(found.rps, rel=0.03)
    assert quick.interval[0] < found.rps < quick.interval[1]


def test_the_kept_model_answers_another_objective_at_once(case, found):
    experiment, slo, _ = case
    model = ServerModel.from_dict(found.model.to_dict())
    other = Slo((LatencyBound(0.99, 2.5 * slo.tightest),))
    fresh = identify(whole(experiment), other, stages=experiment.history, seed=3)
    assert solve(model, other, requests=12_000).rate == pytest.approx(fresh.rps, rel=0.03)


def test_jitter_of_the_network_moves_little(case):
    experiment, slo, truth = case
    rates = [r.stage.rate for r in experiment.history if r.stage.arrivals is Arrivals.POISSON]
    jittered, _ = run_into_overload(experiment.server, rates, jitter=3e-4)
    answer = identify(whole(jittered), slo, stages=jittered.history)
    assert answer.rps == pytest.approx(truth.rate, rel=0.05)


def test_rejections_bind_and_are_explained():
    server = draw("bounded_queue", 3)
    experiment, slo = run_into_overload(
        server, [0.6 * server.top, 0.8 * server.top], multiple=8.0, seconds=30
    )
    truth = capacity(server, [(b.quantile, b.seconds) for b in slo.latency], requests=300_000, replicas=2)
    answer = identify(whole(experiment), slo, stages=experiment.history)
    assert answer.binding == "error_ratio"
    assert answer.model.queue_limit is not None
    assert answer.rps == pytest.approx(truth.rate, rel=0.1)
    assert "turns requests away" in answer.description


# --------------------------------------------------------------------------------------------- refusals


def one_worker(rate, seconds, seed=0, mean=0.02):
    arrival = poisson(rate, seconds, seed)
    work = np.random.default_rng(seed).lognormal(np.log(mean), 0.3, arrival.size)
    return log_of(arrival, kernels.first_in_first_out(arrival, work, 1, -1, NONE, 1.0, NONE, 0.0))


def test_too_few_requests():
    answer = identify(one_worker(20.0, 1.0), Slo((LatencyBound(0.95, 0.1),)))
    assert isinstance(answer, Refusal)
    assert "too few" in answer.reason


def test_an_objective_below_the_service_time_is_infeasible_with_its_numbers():
    answer = identify(one_worker(45.0, 60.0), Slo((LatencyBound(0.95, 0.015),)))
    assert isinstance(answer, Refusal)
    assert answer.infeasible
    assert "15 ms" in answer.reason
    assert "replicas cannot fix service time" in answer.reason


def test_a_server_that_was_never_busy_has_a_lower_bound():
    """Delays alone, as of an asynchronous server that sleeps: nobody ever waited."""
    arrival = poisson(200.0, 60.0, 1)
    log = log_of(arrival, arrival + np.random.default_rng(1).lognormal(-3.0, 0.2, arrival.size))
    answer = identify(log, Slo((LatencyBound(0.95, 0.5),)), stages=[(0.0, 60.0, 200.0)])
    assert isinstance(answer, Refusal)
    assert answer.at_least == pytest.approx(200.0, rel=0.05)
    assert "Nothing limited the server" in answer.reason


@pytest.mark.parametrize("family", ["last_in_first_out"])
def test_a_server_that_no_form_explains_is_refused(family):
    server = draw(family, 5)
    experiment, slo = run_into_overload(server, [0.7 * server.top, 0.8 * server.top])
    answer = identify(whole(experiment), slo, stages=experiment.history)
    assert isinstance(answer, Refusal)
    assert answer.reason.startswith("No form of server explains the run")
    assert not answer.infeasible


def test_workers_with_queues_of_their_own():
    server = draw("private_queues", 51)
    experiment, slo = run_into_overload(
        server, [0.7 * server.top, 0.8 * server.top, 1.05 * server.top], seconds=30
    )
    answer = identify(whole(experiment), slo, stages=experiment.history)
    assert isinstance(answer, Identification)
    assert answer.form is Form.PRIVATE_QUEUES
    truth = capacity(server, [(b.quantile, b.seconds) for b in slo.latency], requests=100_000, replicas=2)
    assert answer.rps == pytest.approx(truth.rate, rel=0.1)


def test_a_cold_start_is_left_out_and_said():
    server = draw("cold_cache", 50)
    experiment, slo = run_into_overload(server, [0.7 * server.top, 0.9 * server.top], seconds=30)
    answer = identify(whole(experiment), slo, stages=experiment.history)
    assert any("slower than all that came later" in warning for warning in answer.warnings)


def test_requests_without_an_answer_are_left_out_and_said(case, found):
    experiment, slo, _ = case
    log = whole(experiment)
    refused = log.select(np.arange(0, len(log), 20, dtype=np.int64))  # beside them, others that never got in
    refused = dataclasses.replace(refused, outcome=np.full(len(refused), Outcome.CONNECTION, np.int8))
    answer = identify(RequestLog.concat([log, refused]), slo, stages=experiment.history)
    assert any("without an answer" in warning for warning in answer.warnings)
    assert answer.rps == pytest.approx(found.rps, rel=0.05)


def test_failures_that_are_no_rejections_make_no_bounded_queue(case, found):
    """A connection that the server closed while idle fails once: no queue limit may follow from it."""
    experiment, slo, _ = case
    log = whole(experiment)
    outcome = log.outcome.copy()
    outcome[100::500] = Outcome.CONNECTION
    answer = identify(dataclasses.replace(log, outcome=outcome), slo, stages=experiment.history)
    assert answer.model.queue_limit is None
    assert answer.rps == pytest.approx(found.rps, rel=0.05)


def test_every_family_outside_has_a_name():
    assert all(draw(family, 1).name for family in OUTSIDE)


def test_single_requests_are_not_a_stage_to_replay(case):
    experiment, _, _ = case
    single = [r for r in experiment.history if r.stage.arrivals is Arrivals.SINGLE]
    assert isinstance(single[0].stage, Stage)
    assert unloaded(experiment.server) > 0
