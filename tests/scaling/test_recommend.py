from dataclasses import replace

import pytest

from advisor.domain import AdviceStatus, Behaviour, Demand, Forecast, ForecastHorizon, Limit, Refusal
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.scaling.advice import NOW, SLO, capacity

POLICY = ScalingPolicy(failure_tolerance=1, cpu_request_cores=1.0, cpu_limit_cores=1.0)


def advise(found, policy=POLICY, **more):
    return recommend("heart", SLO, policy, found, now=NOW, **({"demand": Demand(500, "asked")} | more))


def test_the_whole_answer():
    advice = advise(capacity(), current_replicas=6)
    assert advice.status is AdviceStatus.OK
    assert advice.replicas.recommended == 9
    assert advice.replicas.current == 6
    assert advice.autoscaling.chosen.metric == "inference_requests_per_second"
    assert advice.autoscaling.chosen.target == pytest.approx(65 / 1.43)
    assert advice.autoscaling.secondary.metric == "inference_in_flight"
    assert [signal.metric for signal in advice.autoscaling.alternatives] == [
        "cpu", "inference_in_flight", "inference_queue_depth",
    ]  # fmt: skip
    assert any("The autoscaler will run 11" in reason for reason in advice.reasons)


def test_without_an_adapter_a_cpu_bound_server_is_scaled_on_cpu():
    advice = advise(capacity(), replace(POLICY, metrics_adapter=False))
    assert advice.autoscaling.chosen.metric == "cpu"
    assert advice.autoscaling.chosen.target == pytest.approx(100 * (0.02 + 0.01 * 65 / 1.43), rel=0.01)
    assert all("no metrics adapter" in signal.why for signal in advice.autoscaling.alternatives)


def test_without_an_adapter_a_sleeping_server_gets_no_signal_but_its_replicas():
    sleeping = capacity(cpu_cores=0.03, cpu_idle_cores=0.01, limited_by=Limit.WORKERS)
    advice = advise(sleeping, replace(POLICY, metrics_adapter=False))
    assert advice.autoscaling is None
    assert advice.replicas.recommended == 9
    assert "no signal can be scaled on" in advice.warnings[-1]
    assert "not cpu: the model uses 0.03 cores" in advice.warnings[-1]


@pytest.mark.parametrize(
    ("rps", "bounds", "words"),
    [
        (500, (1, 20), "will run 11 at this demand: it holds each at 45.45 req/s"),
        (2000, (1, 20), "20 is the maximum: each gets 100 req/s, above what it holds (65 req/s"),
        (1200, (1, 20), "20 is the maximum: each gets 60 req/s, no more than it holds"),
        (90, (3, 20), "3 is the minimum: each gets 30 req/s, below its target of 45.45 req/s"),
    ],
)
def test_what_each_replica_gets_is_said_at_the_bounds_too(rps, bounds, words):
    least, most = bounds
    policy = replace(POLICY, min_replicas=least, max_replicas=most)
    advice = advise(capacity(), policy, demand=Demand(rps, "asked"))
    (said,) = [reason for reason in advice.reasons if reason.startswith("The autoscaler will run")]
    assert words in said
    assert ("it holds each at" in said) == (rps == 500)


def test_no_capacity_yet():
    advice = advise(None)
    assert advice.status is AdviceStatus.REFUSED
    assert "run a capacity test" in advice.reasons[0]
    assert advice.replicas is None


def test_a_refusal_passes_its_reason_on_and_what_is_enough():
    advice = advise(Refusal("only loads up to 50 req/s were seen", at_least=50))
    assert advice.status is AdviceStatus.REFUSED
    assert advice.reasons[0] == "only loads up to 50 req/s were seen"
    assert "10 are enough" in advice.reasons[1]
    hopeless = advise(Refusal("p95 is 300 ms", infeasible=True, at_least=50))
    assert len(hopeless.reasons) == 1


def test_old_evidence_is_stale_but_shown():
    advice = advise(capacity(), replace(POLICY, stale_after_seconds=1800.0))
    assert advice.status is AdviceStatus.STALE
    assert "measure it again" in advice.reasons[0]
    assert advice.replicas.recommended == 9


def test_without_demand_the_target_still_stands():
    advice = advise(capacity(), demand=None)
    assert advice.status is AdviceStatus.OK
    assert advice.replicas is None
    assert advice.autoscaling.chosen.target > 0
    assert "No demand is known" in advice.reasons[0]


def test_the_same_input_gives_the_same_advice():
    assert advise(capacity()) == advise(capacity())


def test_a_forecast_is_given_its_replicas():
    horizons = (ForecastHorizon("next day", 86400.0, 900.0, (800.0, 990.0)),)
    advice = advise(capacity(), forecast=Forecast("seasonal", 0.05, horizons, 1800.0, NOW))
    assert advice.forecast.horizons[0].replicas == 15  # ⌈900 / 65⌉ + 1
    assert "next day takes 15 replicas: up to 900 req/s are expected (800 to 990)" in advice.warnings


def test_a_forecast_below_the_demand_asks_for_nothing():
    horizons = (ForecastHorizon("next day", 86400.0, 400.0, (300.0, 490.0)),)
    advice = advise(capacity(), forecast=Forecast("seasonal", 0.05, horizons, 1800.0, NOW))
    assert not any("next day" in warning for warning in advice.warnings)


REPLAYED = Behaviour(3, 6, 1800, "the floor", "twice the 3", "the cheapest")


def test_what_a_replay_decided_reaches_the_autoscaler():
    advice = advise(capacity(), demand=Demand(100, "asked"), behaviour=REPLAYED)
    assert advice.autoscaling.behaviour == REPLAYED
    assert (advice.replicas.minimum, advice.replicas.maximum) == (3, 6)


@pytest.mark.parametrize(
    ("rps", "maximum", "words"), [(200, 10, "twice the 5"), (700, 20, "configured maximum")]
)
def test_a_demand_above_the_past_raises_the_maximum(rps, maximum, words):
    found = advise(capacity(), demand=Demand(rps, "asked"), behaviour=REPLAYED).autoscaling.behaviour
    assert found.maximum == maximum
    assert words in found.why_maximum


def test_more_replicas_that_may_fail_raise_the_minimum():
    found = advise(capacity(), replace(POLICY, failure_tolerance=3), behaviour=REPLAYED).autoscaling.behaviour
    assert (found.minimum, found.why_minimum) == (4, "one that serves and 3 that may fail")


def test_a_count_is_judged_beside_the_advice():
    advice = advise(capacity(), asked_replicas=5)
    assert advice.fleet.rps == 4 * 65  # one may fail
    assert advice.fleet.why in advice.reasons
