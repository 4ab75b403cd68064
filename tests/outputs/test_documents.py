import json
from dataclasses import replace

import numpy as np
import pytest

from advisor.domain import (
    AdviceStatus,
    Arrivals,
    Demand,
    Disturbance,
    LatencyBound,
    Outcome,
    PolicyOutcome,
    Refusal,
    RequestLog,
    Run,
    RunStatus,
    Simulation,
    Slo,
    Stage,
    StageResult,
    StageSummary,
    Verdict,
    VerdictStatus,
    summarise,
)
from advisor.outputs.documents import (
    curve_documents,
    recommendation_document,
    run_document,
    stage_document,
)
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.scaling.advice import NOW, SLO, capacity


def stage(n=200, bad=3, rate=20.0, arrivals=Arrivals.POISSON):
    intended = np.linspace(0, 9.99, n)
    outcome = np.zeros(n, np.int8)
    outcome[:bad] = Outcome.REJECTED
    log = RequestLog(
        intended, intended, intended + np.linspace(0.01, 0.02, n), outcome, np.zeros(n, np.int16)
    )
    return StageResult(Stage("knee", arrivals, 10.0, rate), 0.0, 10.0, log, dropped=2)


def run(**more):
    made = Run(
        "r1", "heart", "capacity", SLO, NOW, RunStatus.DONE, (stage(),), Verdict(VerdictStatus.VALID),
        capacity(),
        {
            "drift": np.float64(0.5), "nothing": float("nan"), "series": np.arange(3),
            "inner": Disturbance(0.1, 2.0),
        },
        NOW + 12.5,
    )  # fmt: skip
    return replace(made, **more)


def test_the_run_document_has_the_keys_of_the_contract():
    found = json.loads(run_document(run()).model_dump_json())
    contract = {
        "run_id", "target", "scenario", "verdict", "capacity", "refusal", "slo", "stages",
        "elapsed_seconds", "requests",
    }  # fmt: skip
    assert contract <= found.keys()
    assert found["verdict"] == {"status": "valid", "reasons": []}
    assert {"rps", "interval", "confidence", "limited_by", "in_flight", "method"} <= found["capacity"].keys()
    assert found["capacity"]["interval"] == [65.0, 75.0]
    assert found["refusal"] is None
    assert found["slo"]["latency"] == {"p95": 0.1}
    assert found["slo"]["error_ratio"] == 0.001
    assert {
        "rate",
        "seconds",
        "requests",
        "completed_rps",
        "p50",
        "p95",
        "p99",
        "errors",
        "dropped",
    } <= found["stages"][0].keys()
    assert (found["elapsed_seconds"], found["requests"]) == (12.5, 200)
    assert found["findings"] == {
        "drift": 0.5, "nothing": None, "series": [0, 1, 2], "inner": {"share": 0.1, "slowdown": 2.0},
    }  # fmt: skip


def test_a_refused_run_has_a_reason_and_no_capacity():
    found = run_document(run(capacity=Refusal("no form of server explains the run")))
    assert found.capacity is None
    assert found.refusal.reason == "no form of server explains the run"


def test_a_run_under_way_has_neither():
    found = run_document(run(capacity=None, verdict=None, ended_at=None, stages=()))
    assert (found.capacity, found.refusal, found.verdict, found.elapsed_seconds) == (None,) * 4
    running = run(status=RunStatus.RUNNING, ended_at=None, stages=())
    assert run_document(running, now=NOW + 7.0).elapsed_seconds == 7.0
    assert run_document(run(), now=NOW + 99.0).elapsed_seconds == 12.5


def test_stage_figures_are_of_the_requests_that_went_well():
    result = stage()
    found = stage_document(result)
    good = np.linspace(0.01, 0.02, 200)[3:]
    assert (found.p50, found.p95, found.p99) == pytest.approx(tuple(np.quantile(good, (0.5, 0.95, 0.99))))
    assert (found.requests, found.errors, found.dropped, found.rate) == (200, 3, 2, 20.0)
    assert found.completed_rps == pytest.approx(19.6, abs=0.2)
    single = stage_document(stage(arrivals=Arrivals.SINGLE, rate=0.0))
    assert single.rate == pytest.approx(20.2)


def test_requests_that_the_generator_cut_are_no_errors():
    result = stage()
    outcome = result.log.outcome.copy()
    outcome[-5:] = Outcome.CANCELLED
    cut = replace(result, log=replace(result.log, outcome=outcome))
    assert (stage_document(cut).requests, stage_document(cut).errors) == (200, 3)
    assert summarise(cut).errors == 3
    assert stage_document(cut).outcomes == {"ok": 192, "rejected": 3, "cancelled": 5}


def test_a_stage_without_answers_has_no_quantiles():
    found = stage_document(stage(bad=200))
    assert (found.p50, found.p95, found.p99) == (None, None, None)


def test_the_store_gives_the_same_stage():
    result = stage()
    figures = stage_document(result)
    kept = StageSummary(
        result.stage, result.start, result.end, figures.requests, figures.errors, figures.dropped, True,
        result.offered_rps, result.completed_rps, figures.p50, figures.p95, figures.p99, None, None,
        {"ok": 197, "rejected": 3},
    )  # fmt: skip
    assert stage_document(kept) == figures
    ramp = stage(arrivals=Arrivals.RAMP)
    beyond = replace(ramp, dropped=len(ramp.log))
    assert stage_document(summarise(beyond)).rate == stage_document(beyond).rate == beyond.offered_rps
    under_way = replace(kept, end=None, requests=None, errors=None, dropped=None, p50=None)
    assert stage_document(under_way).requests == 0
    assert run_document(run(), [kept]).stages == [figures]


def test_the_recommendation_document_has_the_keys_of_the_contract():
    advice = recommend("heart", SLO, ScalingPolicy(), capacity(), now=NOW, demand=Demand(500, "asked"))
    outcome = PolicyOutcome("advised", 0.9999, 0.999, 812.0, 40.0, 12)
    advice = replace(advice, simulation=Simulation("last week", 7.0, (outcome,)))
    found = json.loads(recommendation_document(advice).model_dump_json())
    assert found.keys() >= {
        "target", "generated_at", "status", "reasons", "slo", "capacity", "demand", "replicas", "autoscaling",
        "simulation", "forecast", "warnings",
    }  # fmt: skip
    assert found["demand"] == {"rps": 500.0, "source": "asked"}
    assert found["replicas"].keys() >= {"current", "recommended", "minimum", "maximum"}
    assert found["autoscaling"].keys() >= {"metric", "type", "target", "unit", "why", "alternatives"}
    assert found["autoscaling"]["type"] == "External"
    assert found["simulation"]["outcomes"][0]["replica_hours"] == 812.0
    assert found["forecast"] is None
    assert found["generated_at"] == "2023-11-14T22:13:20Z"


def test_a_refused_recommendation_keeps_every_key():
    advice = recommend("heart", SLO, ScalingPolicy(), None, now=NOW)
    found = recommendation_document(advice)
    assert found.status == AdviceStatus.REFUSED
    assert found.capacity is None
    assert found.autoscaling is None


def test_infinity_never_reaches_json():
    text = run_document(
        run(capacity=capacity(saturation_rps=float("inf"), in_flight=float("nan")))
    ).model_dump_json()
    assert json.loads(text)["capacity"]["saturation_rps"] is None
    assert json.loads(text)["capacity"]["in_flight"] is None


def test_the_curve_is_sorted_and_named_by_percentile():
    points = curve_documents(capacity(curve=capacity().curve[::-1]))
    assert [p.rate for p in points] == sorted(p.rate for p in points)
    assert set(points[0].quantiles) == {"p50", "p90", "p95", "p99"}


def test_first_token_bounds_are_shown_where_set():
    slo = Slo((LatencyBound(0.95, 2.0),), 0.01, (LatencyBound(0.9, 0.3),))
    assert run_document(run(slo=slo)).slo.ttft == {"p90": 0.3}


def test_a_volley_has_no_rate():
    assert stage_document(stage(arrivals=Arrivals.VOLLEY)).rate is None
