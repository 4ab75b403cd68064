"""What the pages make of what the service knows."""

from __future__ import annotations

import pytest

from advisor.api.web import render, views
from advisor.domain import Forecast, LatencyBound, Run, RunStatus, Slo
from advisor.outputs.documents import StageDocument

HOUR = 3600.0
POINTS = tuple((0.9 * rps, float(rps), 1.1 * rps) for rps in range(10, 10 + 400))
FORECAST = Forecast("seasonal naive", 0.1, (), 300.0, 10 * HOUR, POINTS)


def test_demand_hour_by_hour_is_the_highest_of_each():
    seen = [(9 * HOUR, 5.0), (9 * HOUR + 60, 7.0), (9 * HOUR + 120, 6.0), (10 * HOUR - 60, 4.0)]
    first, second, *_, last = views.hours(seen, FORECAST, now=10 * HOUR)
    assert (first.start, first.seen, first.expected) == (9 * HOUR, 7.0, None)
    assert (second.start, second.seen) == (10 * HOUR, None)
    assert second.expected == pytest.approx((0.9 * 21, 21, 1.1 * 21))  # the twelfth of its five minutes
    assert last.start == 34 * HOUR  # a day ahead, though the forecast knows more
    assert views.hours([], None, now=0.0) == []


def test_what_was_asked_in_words():
    slo = Slo((LatencyBound(0.95, 0.12),), 0.01)
    asked = {"demand_rps": 400.0, "replicas": 3, "p95": "120ms"}
    assert list(views.asked_words(asked, slo)) == [
        "demand is 400 req/s",
        "there are 3 replicas",
        "p95 ≤ 120 ms, errors ≤ 1 %",
    ]
    assert list(views.asked_words({"startup": "45s"}, slo)) == ["a replica starts in 45s"]


def test_a_run_through_a_balancer_has_its_dots_at_the_load_of_one_replica():
    steady = StageDocument(
        name="knee 1", arrivals="poisson", rate=90.0, seconds=10.0, requests=900, completed_rps=90.0,
        p50=0.02, p95=0.06, p99=0.1, errors=0, dropped=0,
    )  # fmt: skip
    stages = [steady, steady.model_copy(update={"arrivals": "ramp"}), steady.model_copy(update={"p95": None})]
    slo = Slo((LatencyBound(0.95, 0.12),))
    run = Run("r1", "heart", "capacity", slo, 0.0, RunStatus.DONE, metadata={"replicas": 3})
    assert render.measured_points(run, stages, 0.95) == [(30.0, 0.06)]
