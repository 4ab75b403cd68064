from dataclasses import replace

from advisor.domain import Admission, Demand, Forecast, ForecastHorizon, Refusal
from advisor.scaling.explanation import explain
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.scaling.advice import NOW, SLO, capacity


def explained(found=None, **more):
    policy = ScalingPolicy(cost_per_replica_hour=0.5)
    advice = recommend("heart", SLO, policy, found or capacity(), now=NOW, **more)
    return {number.name: number for number in explain(advice)}


def test_every_number_of_the_whole_answer_has_its_sentence():
    horizon = ForecastHorizon("next day", 86400.0, 400.0, (350.0, 480.0))
    found = explained(
        capacity(admission=Admission(4, 7, 1.5, 118.0, 3.2, 0.0004)),
        demand=Demand(500, "asked"),
        asked_replicas=3,
        forecast=Forecast("the week before", 0.08, (horizon,), 1800.0, NOW),
    )
    assert list(found) == [
        "capacity of a replica",
        "its lower bound",
        "admission limit of a sidecar",
        "demand",
        "replicas",
        "cost an hour",
        "3 replicas",
        "target, inference_requests_per_second",
        "second target, inference_in_flight",
        "minReplicas",
        "maxReplicas",
        "scale-down window",
        "scale-up",
        "demand, next day",
    ]
    assert all(number.value and number.why and not number.why.endswith(".") for number in found.values())
    assert found["cost an hour"].value == "4"
    assert found["admission limit of a sidecar"].value == "4 in flight, 7 waiting"
    assert found["demand, next day"].value == "400 req/s (350 to 480, 90 %)"
    assert "erred by 8% on held-out days; it takes 7 replicas" in found["demand, next day"].why


def test_what_is_not_known_has_none():
    assert explained(Refusal("too little load")) == {}
    assert {"demand", "replicas", "cost an hour"}.isdisjoint(explained())
    assert "second target, inference_in_flight" not in explained(replace(capacity(), curve=()))
