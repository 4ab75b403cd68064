from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from advisor.domain import Demand, Forecast, ForecastHorizon, Refusal, Run, RunStatus, Verdict, VerdictStatus
from advisor.outputs.gauges import AdvisorCollector, Snapshot, headroom
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.scaling.advice import NOW, SLO, capacity


def advise(found=None, **more):
    found = found or capacity()
    return recommend(
        "heart", SLO, ScalingPolicy(), found, now=NOW, **({"demand": Demand(500, "asked")} | more)
    )


def scrape(*recommendations, runs=()):
    registry = CollectorRegistry()
    registry.register(AdvisorCollector(lambda: Snapshot(tuple(recommendations), tuple(runs))))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labelled(name, **labels):
    return name, tuple(sorted({"target": "heart", **labels}.items()))


def test_the_advice_is_on_the_wire():
    found = scrape(advise(current_replicas=10))
    assert found[labelled("advisor_recommended_replicas")] == 8
    assert found[labelled("advisor_current_replicas")] == 10
    assert found[labelled("advisor_capacity_rps")] == 70
    assert found[labelled("advisor_capacity_lower_rps")] == 65
    assert found[labelled("advisor_capacity_upper_rps")] == 75
    assert found[labelled("advisor_headroom_ratio")] == pytest.approx(1 - 500 / 650)
    assert found[labelled("advisor_recommendation_status", status="ok")] == 1
    assert found[labelled("advisor_recommendation_status", status="stale")] == 0
    target = labelled(
        "advisor_hpa_target",
        metric="inference_requests_per_second",
        type="External",
        unit="req/s per replica",
    )
    assert found[target] == pytest.approx(65 / 1.43)


def test_the_curve_holds_the_shown_quantiles_and_those_of_the_objective():
    found = scrape(advise())
    quantiles = {
        dict(labels)["percentile"] for name, labels in found if name == "advisor_capacity_curve_seconds"
    }
    assert quantiles == {"p50", "p95", "p99"}
    assert found[labelled("advisor_capacity_curve_seconds", rate="70", percentile="p95")] == pytest.approx(
        0.0999, rel=1e-2
    )
    assert found[labelled("advisor_capacity_curve_in_flight", rate="70")] == pytest.approx(7 / 3)


def test_what_is_not_known_is_absent():
    names = {name for name, _ in scrape(advise(Refusal("too little load")))}
    assert names == {"advisor_recommendation_status", "advisor_demand_rps"}
    assert headroom(advise(demand=None)) is None


def test_verdicts_and_forecasts():
    run = Run(
        "r",
        "heart",
        "soak",
        SLO,
        NOW,
        RunStatus.DONE,
        verdict=Verdict(VerdictStatus.INVALID),
        ended_at=NOW + 9,
    )
    horizon = ForecastHorizon("next day", 86400.0, 800.0, (700.0, 950.0))
    advice = replace(advise(), forecast=Forecast("seasonal", 0.07, (horizon,), 300.0, NOW))
    found = scrape(advice, runs=[run])
    assert found[labelled("advisor_run_verdict", scenario="soak", status="invalid")] == 1
    assert found[labelled("advisor_run_verdict", scenario="soak", status="valid")] == 0
    assert found[labelled("advisor_run_ended_timestamp_seconds", scenario="soak")] == NOW + 9
    assert found[labelled("advisor_forecast_rps", horizon="next day", bound="high")] == 950
    assert found[labelled("advisor_forecast_replicas", horizon="next day")] == 13  # ⌈800 / 65⌉
    assert found[labelled("advisor_forecast_error_ratio")] == pytest.approx(0.07)


def test_nothing_known_is_no_error():
    assert scrape() == {}
