"""The report of a run: what it draws is what the requests say, and it needs nothing from outside."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from advisor.api.web.report import report_page, stored_report
from advisor.api.web.runline import run_line, window_points
from advisor.domain import (
    Arrivals,
    LatencyBound,
    Outcome,
    Refusal,
    RequestLog,
    Run,
    RunStatus,
    Slo,
    Stage,
    StageResult,
    StreamLog,
    Verdict,
    VerdictStatus,
    Window,
)
from advisor.loadtest.answers.agreement import Agreement
from advisor.loadtest.histogram import gap_histogram
from advisor.outputs.documents import run_document
from advisor.store import Store
from tests.scaling.advice import NOW, capacity

SLO = Slo((LatencyBound(0.95, 0.1),), 0.01)


def log(rate: float, seconds: float, start: float, latency: float = 0.02, failing: int = 0) -> RequestLog:
    intended = start + np.arange(int(rate * seconds)) / rate
    outcome = np.zeros(intended.size, np.int8)
    outcome[:failing] = Outcome.SERVER_ERROR
    kind = (np.arange(intended.size) % 4 == 3).astype(np.int16)
    return RequestLog(intended, intended + 1e-4, intended + latency, outcome, kind)


def stage(
    name, rate, seconds, start, *, arrivals=Arrivals.POISSON, windows=(), latency=0.02, failing=0, **more
):
    asked = Stage(name, arrivals, seconds, rate, **more)
    return StageResult(
        asked, start, start + seconds, log(rate, seconds, start, latency, failing),
        dispatch_delay_p99=0.001, generator_cpu=0.25, windows=windows,
    )  # fmt: skip


def windows(start: float, seconds: int) -> tuple[Window, ...]:
    """Of Unix times that are NOW + 7 s where the run's clock says 0."""
    return tuple(
        Window(NOW + 7 + start + i, NOW + 8 + start + i, {"ok": 20.0}, cpu_cores=0.5 + i, memory_bytes=2e8)
        for i in range(seconds)
    )


def run(*stages, scenario="load", **more) -> Run:
    metadata = {"kinds": ["POST /predict", "POST /<b>"], "rate_cap": 500.0}
    made = Run(
        "r-now", "heart", scenario, SLO, NOW, RunStatus.DONE, stages, Verdict(VerdictStatus.VALID),
        ended_at=NOW + 60, version="v2", metadata=metadata,
    )  # fmt: skip
    return dataclasses.replace(made, **more)


def page(made: Run, before=None) -> str:
    return report_page(made, run_document(made), before)


def values(points):
    return [value for _, value in points]


def test_the_line_of_a_run_holds_what_was_asked_sent_and_answered():
    line = run_line(run(stage("load 1", 20, 10, 0.0), stage("load 2", 40, 10, 15.0, latency=0.5)))
    assert values(line.asked)[:10] == [20.0] * 10
    assert values(line.asked)[10:15] == [None] * 5
    assert values(line.offered)[:10] == pytest.approx([20.0] * 10)
    assert values(line.offered)[11:14] == [None] * 3  # between stages nothing is asked, which is not zero
    assert values(line.offered)[16:24] == pytest.approx([40.0] * 8)
    assert values(line.completed)[16:24] == pytest.approx([40.0] * 8)
    assert values(line.in_flight)[20] == pytest.approx(20, abs=1)  # 40 a second, half a second each
    assert values(line.latency[0.95])[20] == pytest.approx(0.5)
    assert values(line.latency[0.5])[5] == pytest.approx(0.02)
    assert values(line.generator)[3] == 0.25
    assert line.stages == (0.0, 15.0)


def test_what_was_asked_follows_a_ramp_and_a_curve():
    ramp = run_line(run(stage("ramp 1", 10, 8, 0.0, arrivals=Arrivals.RAMP, doubling=4.0)))
    assert values(ramp.asked)[4] == pytest.approx(10 * 2 ** (4.5 / 4))
    curve = ((0.0, 10.0), (10.0, 30.0))
    replay = run_line(run(stage("spike", 20, 10, 0.0, arrivals=Arrivals.REPLAY, curve=curve)))
    assert values(replay.asked)[4] == pytest.approx(19.0)


def test_quantiles_of_a_few_requests_are_not_drawn():
    line = run_line(run(stage("load 1", 3, 10, 0.0)))
    assert set(values(line.latency[0.99])) == {None}
    assert None not in values(line.latency[0.5])[:9]


def test_a_long_run_has_no_more_points_than_can_be_seen():
    line = run_line(run(stage("soak", 2, 4000, 0.0)))
    assert len(line.offered) <= 200
    html = page(run(stage("soak", 2, 600, 0.0, windows=windows(0, 600))))
    assert max(polyline.count(",") for polyline in re.findall(r'points="([^"]*)"', html)) <= 240
    assert np.median(values(line.offered)[1:-1]) == pytest.approx(2.0, rel=0.05)


def test_windows_of_the_sidecar_are_put_on_the_clock_of_the_run():
    made = run(stage("a", 20, 3, 0.0, windows=windows(0, 3)), stage("b", 20, 3, 20.0, windows=windows(20, 3)))
    points = window_points(made, lambda window: window.cpu_cores)
    assert [round(t, 6) for t, _ in points] == [0.5, 1.5, 2.5, 20.5, 21.5, 22.5]
    assert window_points(made, lambda window: window.gpu_utilization) == []


def test_a_report_of_everything_stands_alone_and_is_well_formed():
    agreement = Agreement("load 1", "POST /predict", 300, 200, 0.99).document()
    refused = {
        "kind": "POST /<b>", "requests": 50, "refused": 40, "accepted": 9, "server_errors": 1,
        "p95_seconds": 0.01, "within_seconds": 0.1, "passed": {"#/x: <i>": "accepted"},
    }  # fmt: skip
    made = run(
        stage("single 1", 20, 4, 0.0, arrivals=Arrivals.SINGLE),
        stage("load 1", 20, 20, 6.0, windows=windows(6, 20), latency=0.3, failing=40),
        capacity=capacity(), scenario="capacity",
        findings={"accuracy": [agreement], "invalid_requests": [refused]},
    )  # fmt: skip
    html = page(made)
    assert not re.search(r"<script|<link|<img|src=|url\(|@import|https?://(?!www\.w3\.org)", html)
    assert "<b>" not in html.replace("<b>No capacity", "")
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    titles = {ET.fromstring(drawing).find("title").text for drawing in drawings}
    assert titles >= {
        "Requests a second", "Latency from the intended start", "Requests in flight", "CPU, cores",
        "Memory of the model, MB",
    }  # fmt: skip
    for part in (
        "40 server error",
        "66.7 %",
        "#/x: &lt;i&gt; (accepted)",
        "300 ms",
        "25 % of a core",
        "violated",
    ):
        assert part in html


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (run(), ["No rule objects", "none was read"]),
        (
            run(verdict=None, status=RunStatus.ABORTED, reason="told to stop"),
            ["has not come", "told to stop"],
        ),
        (
            run(stage("single 1", 9, 5, 0.0), capacity=Refusal("no <form>", at_least=5)),
            ["no &lt;form&gt;", "5 req/s"],
        ),
    ],
)
def test_runs_that_came_to_nothing_have_a_report(made, parts):
    html = page(made)
    for part in parts:
        assert part in html


def test_the_run_before_is_of_the_same_scenario_and_stands_beside(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/a.db")
    old = run(
        stage("load 1", 20, 20, 0.0, latency=0.04), run_id="r-old", started_at=NOW - 900, version="v1",
        scenario="capacity", capacity=capacity(rps=60.0, interval=(57.0, 63.0)),
    )  # fmt: skip
    spike = dataclasses.replace(old, run_id="r-spike", scenario="spike", started_at=NOW - 300)
    broken = dataclasses.replace(old, run_id="r-broken", started_at=NOW - 200, status=RunStatus.ABORTED)
    new = run(
        stage("load 1", 20, 20, 0.0), scenario="capacity", capacity=capacity(rps=70.0, interval=(66.0, 74.0))
    )
    for made in (old, spike, broken, new):
        store.runs.add(dataclasses.replace(made, slo=SLO))
    html = stored_report(store, "r-now", now=NOW)
    assert stored_report(store, "nobody", now=NOW) is None
    assert "The capacity run before" not in stored_report(store, "r-old", now=NOW)
    store.close()
    assert "r-old" in html
    assert "r-spike" not in html
    assert "r-broken" not in html
    row = re.search(r"p95 of load 1 at 20 req/s</td><td>([^<]*)</td><td>([^<]*)", html)
    assert row.groups() == ("40 ms", "20 ms")


def test_streamed_answers_have_their_own_line_and_table():
    streamed = stage("load 1", 20, 20, 0.0)
    times = streamed.log.intended
    streams = StreamLog(
        times, times, times + 0.05, times + 0.5, np.full(times.size, 10), gap_histogram(np.full(100, 0.05))
    )
    made = run(
        dataclasses.replace(streamed, streams=streams), slo=Slo(SLO.latency, 0.01, (LatencyBound(0.95, 0.2),))
    )
    assert values(run_line(made).first_token[0.95])[3] == pytest.approx(0.05)
    html = page(made)
    assert "Streamed answers" in html
    assert "Time to first token" in html
    assert "Streamed answers" not in page(run(streamed))
