from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from advisor.domain import Demand, Forecast, ForecastHorizon, Refusal, Run, RunStatus, Verdict, VerdictStatus
from advisor.outputs.documents import StageDocument
from advisor.outputs.gauges import AdvisorCollector, Snapshot, headroom
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from advisor.settings import ScalingSettings
from tests.scaling.advice import NOW, SLO, capacity


def advise(found=None, **more):
    found = found or capacity()
    return recommend(
        "heart", SLO, ScalingPolicy(), found, now=NOW, **({"demand": Demand(500, "asked")} | more)
    )


def scrape(*recommendations, runs=(), stages=None, scaling=None):
    registry = CollectorRegistry()
    snapshot = Snapshot(tuple(recommendations), tuple(runs), stages or {}, scaling or {})
    registry.register(AdvisorCollector(lambda: snapshot))
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
    known = {"advisor_recommendation_status", "advisor_demand_rps", "advisor_slo_seconds"}
    assert names == known | {"advisor_slo_error_ratio"}
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


def stage(name, rate, p95, arrivals="poisson", errors=0):
    return StageDocument(
        name=name,
        arrivals=arrivals,
        rate=rate,
        seconds=10.0,
        requests=100,
        completed_rps=rate,
        p50=p95 / 2,
        p95=p95,
        p99=None,
        errors=errors,
        dropped=0,
    )


def measured_run(run_id, found, status=VerdictStatus.VALID, **more):
    run = Run(run_id, "heart", "capacity", SLO, NOW, RunStatus.DONE, verdict=Verdict(status), capacity=found)
    return replace(run, **more)


def test_the_band_is_the_curve_of_a_server_at_either_end_of_the_interval():
    found = scrape(advise())
    edge = {
        dict(labels)["bound"]: value
        for (name, labels), value in found.items()
        if name == "advisor_capacity_curve_band_seconds" and ("rate", "49") in labels
    }
    assert {dict(labels)["percentile"] for name, labels in found if name.endswith("band_seconds")} == {"p95"}
    # ln 20 / (100 − load) s is the p95 of M/M/1; linear between the points of the curve it is a little more.
    assert edge["low"] == pytest.approx(2.9957 / (100 - 49 * 70 / 75), rel=0.02)
    assert edge["high"] == pytest.approx(2.9957 / (100 - 49 * 70 / 65), rel=0.02)


def test_measured_points_are_open_loop_stages_of_the_run_behind_the_advice_for_each_replica():
    stages = {"r1": [stage("ramp", 90.0, 0.5, "ramp"), stage("confirm", 120.0, 0.08)]}
    run = measured_run("r1", capacity(), metadata={"replicas": 2})
    other = measured_run("r0", capacity())
    found = scrape(advise(), runs=[run, other], stages={**stages, "r0": [stage("old", 10.0, 0.01)]})
    points = {
        labels: value
        for (name, labels), value in found.items()
        if name == "advisor_capacity_measured_seconds"
    }
    rate = {"target": "heart", "rate": "60"}
    assert points == {
        tuple(sorted({**rate, "percentile": "p50"}.items())): 0.04,
        tuple(sorted({**rate, "percentile": "p95"}.items())): 0.08,
    }


def test_stages_of_the_last_run_in_their_order():
    stages = {"r1": [stage("steady", 20.0, 0.03, errors=5), stage("confirm", 60.0, 0.08)]}
    found = scrape(runs=[measured_run("r1", capacity())], stages=stages)
    first = {"scenario": "capacity", "stage": "01 steady"}
    assert found[labelled("advisor_run_stage_offered_rps", **first)] == 20
    assert found[labelled("advisor_run_stage_error_ratio", **first)] == 0.05
    assert found[labelled("advisor_run_stage_seconds", **first, percentile="p95")] == 0.03
    assert labelled("advisor_run_stage_seconds", **first, percentile="p99") not in found
    assert found[labelled("advisor_run_stage_offered_rps", scenario="capacity", stage="02 confirm")] == 60


def test_a_version_is_compared_with_the_one_before_it():
    new = measured_run("b", capacity(rps=50.0, interval=(48.0, 52.0)), version="v2")
    again = measured_run("a2", capacity(rps=49.0, interval=(40.0, 60.0)), version="v2")
    old = measured_run("a", capacity(), version="v1")
    bad = measured_run("c", capacity(rps=9.0), VerdictStatus.INVALID, version="v3")
    found = scrape(runs=[bad, new, again, old])
    between = {"version": "v2", "baseline": "v1"}
    assert found[labelled("advisor_capacity_change_ratio", **between)] == pytest.approx(50 / 70)
    assert found[labelled("advisor_capacity_regressed", **between)] == 1
    assert found[labelled("advisor_version_capacity_rps", version="v2", bound="low")] == 48
    assert labelled("advisor_version_capacity_rps", version="v3", bound="low") not in found
    improved = scrape(runs=[old, new])
    back = {"version": "v1", "baseline": "v2"}
    assert improved[labelled("advisor_capacity_regressed", **back)] == 0
    other_objective = scrape(runs=[replace(new, slo=replace(SLO, error_ratio=0.5)), old])
    assert labelled("advisor_capacity_regressed", **between) not in other_objective


def test_findings_of_the_last_runs():
    memory = {"slope": 1e4, "grows": True, "seconds_to_limit": 7200.0}
    soak = measured_run("s", None, scenario="soak", findings={"memory": memory, "latency": None})
    spike = measured_run(
        "p", None, scenario="spike", findings={"recovery_seconds": None, "latency_peak": 2.5}
    )
    found = scrape(runs=[soak, spike, replace(soak, run_id="now", status=RunStatus.RUNNING)])
    assert found[labelled("advisor_soak_seconds_to_limit", what="memory")] == 7200
    assert found[labelled("advisor_soak_grows", what="memory")] == 1
    assert found[labelled("advisor_run_worst_latency_seconds", scenario="spike")] == 2.5
    assert labelled("advisor_run_recovery_seconds", scenario="spike") not in found
    assert found[labelled("advisor_run_active", scenario="soak")] == 1
    assert labelled("advisor_soak_grows", what="latency") not in found


def test_the_autoscaler_of_today_and_the_workload():
    scaling = ScalingSettings.model_validate(
        {"today": {"cpu_percent": 70}, "reference": {"name": "heart", "namespace": "ml"}}
    )
    found = scrape(scaling={"heart": scaling})
    assert found[labelled("advisor_hpa_today", metric="cpu", type="ContainerResource")] == 70
    workload = {"workload_namespace": "ml", "workload_kind": "Deployment", "workload_name": "heart"}
    assert found[labelled("advisor_target_info", **workload)] == 1


def test_the_forecast_by_hours_from_the_advice():
    points = tuple((float(i), i + 1.0, i + 2.0) for i in range(48))
    forecast = Forecast("seasonal", 0.07, (), 1800.0, NOW - 1800, points)
    found = scrape(replace(advise(), forecast=forecast))
    assert found[labelled("advisor_forecast_ahead_rps", hours="0", bound="expected")] == 2
    assert found[labelled("advisor_forecast_ahead_rps", hours="23", bound="high")] == 49
    assert labelled("advisor_forecast_ahead_rps", hours="24", bound="high") not in found


def test_nothing_known_is_no_error():
    assert scrape() == {}
