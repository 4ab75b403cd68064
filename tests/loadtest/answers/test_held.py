"""From what a run kept to figures, sentences and statuses: refused requests, and answers that stay right."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.domain import Arrivals, LatencyBound, Outcome, RequestLog, Run, RunStatus, Slo
from advisor.loadtest.answers.agreement import Agreement, agreements
from advisor.loadtest.answers.compare import Compare, Rule
from advisor.loadtest.answers.references import Reference
from advisor.loadtest.answers.watch import Watch
from advisor.loadtest.crew import _one_second
from advisor.loadtest.findings.refusals import refusals
from advisor.loadtest.protocol import Kind, Prepared, SecondRecord, Told
from advisor.loadtest.verdict import Direct
from advisor.loadtest.verdict.answers import answers_held
from tests.loadtest.build import result_of

SLO = Slo((LatencyBound(0.95, 0.1),), 0.01)
METADATA = {"kinds": ["POST /predict", "POST /predict invalid"], "refused_within": {"1": 0.05}}


def log(n=400, slow=0.01, **wrong) -> RequestLog:
    """Every second request is invalid; `wrong` says how many of those end otherwise."""
    intended = np.linspace(0, 20, n, endpoint=False)
    kind = (np.arange(n) % 2).astype(np.int16)
    outcome = np.zeros(n, np.int8)
    where = iter(np.flatnonzero(kind))
    for name, count in wrong.items():
        for _ in range(count):
            outcome[next(where)] = Outcome[name.upper()]
    return RequestLog(intended, intended, intended + np.where(kind == 1, slow, 1.0), outcome, kind)


def run(*stages, findings=None, **metadata) -> Run:
    return Run("r", "t", "load", SLO, 0.0, RunStatus.DONE, stages, findings=findings or {}, metadata=metadata)


def test_the_figures_of_requests_that_should_be_refused() -> None:
    overload = result_of(log(slow=3.0), 20, 20, name="burst 1")
    made = run(result_of(log(accepted=3, server_error=2, timeout=1), 20, 20), overload, **METADATA)
    (found,) = refusals(made)
    assert (found.kind, found.requests, found.refused) == ("POST /predict invalid", 400, 394)
    assert (found.accepted, found.server_errors) == (3, 2)
    assert found.p95_seconds == pytest.approx(0.01)  # not those of the burst
    assert found.within_seconds == 0.05


@pytest.mark.parametrize(
    ("wrong", "slow", "statuses"),
    [
        ({}, 0.01, [Direct.MET, Direct.MET]),
        ({"accepted": 1}, 0.01, [Direct.VIOLATED, Direct.MET]),
        ({"server_error": 30}, 0.01, [Direct.VIOLATED, Direct.MET]),
        ({"server_error": 1}, 0.01, [Direct.MET, Direct.MET]),  # one in 200 may be chance, 1 % is allowed
        ({}, 0.2, [Direct.MET, Direct.VIOLATED]),
    ],
)
def test_a_refusal_is_a_4xx_in_time(wrong, slow, statuses) -> None:
    held = list(answers_held(run(result_of(log(slow=slow, **wrong), 20, 20), **METADATA)))
    assert [h.status for h in held] == statuses
    if wrong.get("accepted"):
        assert held[0].sentence == (
            "1 of 200 requests that should be refused were accepted, 0 met a server error"
        )


def test_runs_of_before_and_without_such_requests_have_nothing_to_hold() -> None:
    stage = result_of(log(), 20, 20)
    assert list(answers_held(run(stage))) == []
    assert list(answers_held(run(stage, kinds=["POST /predict"], refused_within={}))) == []
    assert list(answers_held(run(**METADATA))) == []


@pytest.mark.parametrize(
    ("agreed", "asked", "status"),
    [
        (500, 1.0, Direct.MET),
        (499, 1.0, Direct.VIOLATED),
        (499, 0.99, Direct.MET),
        (490, 0.985, Direct.UNDECIDED),
    ],
)
def test_the_share_that_agrees_against_what_was_asked(agreed, asked, status) -> None:
    found = Agreement("load 1", "POST /predict", 500, agreed, asked)
    assert found.status is status
    low, high = found.interval
    assert low <= found.share <= high


def test_agreements_come_back_from_findings_and_are_held_per_stage() -> None:
    found = Agreement("load 1", "POST /predict", 500, 400, 0.99)
    findings = {"accuracy": [found.document()]}
    assert agreements(findings) == (found,)
    (held,) = answers_held(run(findings=findings))
    assert (held.stage, held.status) == ("load 1", Direct.VIOLATED)
    assert held.sentence.startswith("80 % of 500 answers agree with those without load (76.8")


def test_told_answers_are_counted_by_stage_and_kind() -> None:
    kinds = (Kind("GET /", "GET", ()), Kind("POST /predict", "POST", ()))
    watch = Watch(
        kinds, {1: Reference("POST /predict", Rule(Compare.LABEL, "/label", share=0.9), {4: "cat"})}
    )

    def second(*labels: str) -> SecondRecord:
        told = tuple(Told(1, 4, f'{{"label": "{label}"}}'.encode()) for label in labels)
        return SecondRecord("s", 0, 1, {}, {}, RequestLog.empty(), 0, 0, 0.1, told=told)

    for name, seconds in (
        ("first", [second("cat", "cat"), second("cat")]),
        ("second", [second("dog", "cat")]),
    ):
        watch.on_stage_start(result_of(RequestLog.empty(), 1, 1, name=name, arrivals=Arrivals.POISSON).stage)
        for record in seconds:
            watch.on_second(record)
    assert watch.agreements() == (
        Agreement("first", "POST /predict", 3, 3, 0.9),
        Agreement("second", "POST /predict", 2, 1, 0.9),
    )


def test_what_several_generators_tell_is_counted_together() -> None:
    seconds = [
        SecondRecord("s", 0, 1, {}, {}, RequestLog.empty(), 0, 0, 0.1, told=(Told(0, entry, b"x"),))
        for entry in (1, 2)
    ]
    assert [told.entry for told in _one_second(seconds, 0).told] == [1, 2]


def test_requests_that_passed_are_told_by_what_is_wrong_with_them() -> None:
    pool = (
        Prepared("/", b'{"x": 1}', flaw="#/x: too low"),
        Prepared("/", b"{}", flaw="#/: no x"),
        Prepared("/a"),
    )
    watch = Watch((Kind("POST / invalid", "POST", pool, expect="4xx"),), {})
    outcomes = (
        (0, Outcome.ACCEPTED),
        (0, Outcome.ACCEPTED),
        (1, Outcome.SERVER_ERROR),
        (2, Outcome.ACCEPTED),
    )
    told = tuple(Told(0, entry, outcome=outcome) for entry, outcome in outcomes)
    watch.on_second(SecondRecord("s", 0, 1, {}, {}, RequestLog.empty(), 0, 0, 0.1, told=told))
    passed = {"#/x: too low": "accepted", "#/: no x": "server_error", "/a": "accepted"}
    assert watch.passed("POST / invalid") == passed
    assert watch.agreements() == ()
    findings = {"invalid_requests": [{"kind": "POST /predict invalid", "passed": passed}]}
    stage = result_of(log(accepted=2, server_error=1), 20, 20)
    held, _ = answers_held(run(stage, findings=findings, **METADATA))
    assert held.sentence.endswith(
        "1 met a server error, such as #/x: too low (accepted); #/: no x (server error); /a (accepted)"
    )
