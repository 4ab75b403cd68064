"""The test report agrees with the exit code, and every parser can read it."""

import dataclasses
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from advisor.capacity.gate import Question, check
from advisor.cli.outcome import check_exit_code, exit_code
from advisor.domain import (
    Arrivals,
    Capacity,
    Evidence,
    LatencyBound,
    Limit,
    Outcome,
    Refusal,
    RequestLog,
    Run,
    RunStatus,
    Slo,
    Stage,
    StageResult,
    Verdict,
    VerdictStatus,
)
from advisor.loadtest.answers.agreement import Agreement
from advisor.loadtest.verdict import judge
from advisor.outputs.junit import check_junit, run_junit

SLO = Slo((LatencyBound(0.95, 0.1), LatencyBound(0.99, 0.2)), 0.01)
NOW = 1_700_000_000.0


def stage(latency=0.05, failed=0, arrivals=Arrivals.POISSON, n=1000, name="load 1", **more):
    intended = np.linspace(0.0, 20.0, n, endpoint=False)
    outcome = np.zeros(n, np.int8)
    outcome[np.linspace(0, n - 1, failed).astype(int)] = Outcome.SERVER_ERROR
    log = RequestLog(intended, intended, intended + latency, outcome, np.zeros(n, np.int16))
    return StageResult(Stage(name, arrivals, 20.0, n / 20), 0.0, 20.0, log, **more)


def capacity(rps=50.0, half=0.05):
    return Capacity(
        rps, (rps * np.exp(-half), rps * np.exp(half)), Limit.WORKERS, "test", Evidence(1000, 60.0, 50.0)
    )


def run(scenario, *stages, found=None, status=RunStatus.DONE, **more):
    """With the verdict that the rules give."""
    reason = None if status is RunStatus.DONE else "told to stop"
    verdict = judge(stages, SLO, found, cut_short=reason)
    made = Run(
        "r1", "heart", scenario, SLO, NOW, status, stages, verdict, found, {}, NOW + 21.5, reason, "v2"
    )
    return dataclasses.replace(made, **more)


SINGLE = stage(arrivals=Arrivals.SINGLE, n=200, name="single 1")
CONFIRM = stage(0.05, n=950, name="confirm 1")
TAKEN = stage()
TAKEN.log.kind[::10] = 1
TAKEN.log.outcome[500] = Outcome.ACCEPTED
RUNS = {
    "within": run("load", stage()),
    "too slow": run("load", stage(0.15)),
    "errors": run("load", stage(failed=100)),
    "starved": run("load", stage(0.15, generator_cpu=0.99)),
    "short": run("load", stage(0.05, n=30)),
    "stopped": run("load", stage(), status=RunStatus.ABORTED),
    "stopped and slow": run("load", stage(0.15), status=RunStatus.ABORTED),
    "failed": run("load", stage(), status=RunStatus.FAILED, verdict=None, reason="no room on the disk"),
    "smoke": run("smoke", stage(n=10, arrivals=Arrivals.SINGLE)),
    "smoke with an error": run("smoke", stage(n=10, failed=1, arrivals=Arrivals.SINGLE)),
    "capacity": run("capacity", SINGLE, CONFIRM, found=capacity()),
    "wide": run("capacity", SINGLE, CONFIRM, found=capacity(half=0.4)),
    "infeasible": run(
        "capacity",
        stage(0.15, arrivals=Arrivals.SINGLE, n=200),
        found=Refusal("p95 is 150 ms without load", infeasible=True),
    ),
    "at least": run("capacity", SINGLE, CONFIRM, found=Refusal("at least 50/s", at_least=50.0)),
    "stress": run("stress", stage(0.5)),
    "wrong answers": run(
        "capacity",
        SINGLE,
        CONFIRM,
        found=capacity(),
        findings={"accuracy": [Agreement("confirm 1", "POST /predict", 200, 150, 0.99).document()]},
    ),
    "taken": run(
        "load", TAKEN, metadata={"kinds": ["POST /", "POST / invalid"], "refused_within": {"1": 0.1}}
    ),
    "stress with wrong answers": run(
        "stress",
        stage(0.5),
        findings={"accuracy": [Agreement("stress", "POST /predict", 200, 150, 0.99).document()]},
    ),
}


def cases(xml):
    return list(ET.fromstring(xml).iter("testcase"))


def told(xml, kind):
    """(name, message) of the cases with such a result."""
    return [(c.get("name"), c.find(kind).get("message")) for c in cases(xml) if c.find(kind) is not None]


@pytest.mark.parametrize("name", RUNS)
def test_the_report_agrees_with_the_exit_code(name):
    made = RUNS[name]
    xml, code = run_junit(made), exit_code(made)
    failures, errors = told(xml, "failure"), told(xml, "error")
    assert (not failures and not errors) is (code == 0)
    if code == 1:
        assert failures
    if code == 3:
        assert errors
        assert not failures


@pytest.mark.parametrize("name", RUNS)
def test_the_counts_are_those_of_the_cases(name):
    root = ET.fromstring(run_junit(RUNS[name]))
    suite = root.find("testsuite")
    assert int(suite.get("tests")) == len(list(suite.iter("testcase"))) > 0
    for kind, key in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(key)) == len(list(suite.iter(kind)))
    assert root.get("failures") == suite.get("failures")
    names = [(c.get("classname"), c.get("name")) for c in suite.iter("testcase")]
    assert len(set(names)) == len(names)


def test_each_rule_and_each_bound_is_a_case():
    found = cases(run_junit(RUNS["too slow"]))
    names = {(c.get("classname"), c.get("name")) for c in found}
    assert ("heart.evidence", "the generator keeps the rate") in names
    assert ("heart.objective", "p95 ≤ 100 ms (load 1)") in names
    assert told(run_junit(RUNS["too slow"]), "failure") == [
        ("p95 ≤ 100 ms (load 1)", "100 % of 1000 requests over p95 ≤ 100 ms (5 % may be): violated")
    ]


def test_a_bound_that_single_requests_break_fails_and_the_others_are_not_judged():
    xml = run_junit(RUNS["infeasible"])
    assert told(xml, "failure") == [("p95 ≤ 100 ms", "p95 is 150 ms without load")]
    assert [name for name, _ in told(xml, "skipped")] == ["p99 ≤ 200 ms", "errors ≤ 1 %"]


def test_a_search_beyond_the_objective_is_not_judged_by_it():
    assert told(run_junit(RUNS["stress"]), "skipped") == [
        (
            "p95 ≤ 100 ms, p99 ≤ 200 ms, errors ≤ 1 %",
            "a stress run goes beyond the objective on purpose",
        )
    ]


def test_a_verdict_of_rules_that_the_kept_data_do_not_show_is_still_told():
    odd = dataclasses.replace(
        RUNS["capacity"], verdict=Verdict(VerdictStatus.INCONCLUSIVE, ("seen only during the run",))
    )
    assert told(run_junit(odd), "error") == [("further objections", "seen only during the run")]


def test_the_suite_says_what_was_run():
    suite = ET.fromstring(run_junit(RUNS["capacity"])).find("testsuite")
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["version"] == "v2"
    assert properties["capacity"].startswith("50 req/s (47.56 to 52.56")
    assert (suite.get("time"), suite.get("timestamp")) == ("21.500", "2023-11-14T22:13:20")


def test_what_xml_cannot_hold_does_not_break_it():
    odd = dataclasses.replace(
        RUNS["failed"], target="a<b>&\x00", reason='\x1b[31m "quoted" \ud800 <![CDATA[ 温度 \U0001f600'
    )
    (message,) = [message for _, message in told(run_junit(odd).encode(), "error")]
    assert message == 'it is failed: �[31m "quoted" � <![CDATA[ 温度 \U0001f600'


# ------------------------------------------------------------------------------------------------- checks


def checked(rps, baseline=50.0, **more):
    old = run("capacity", SINGLE, CONFIRM, found=capacity(baseline), version="v1") if baseline else None
    new = run("capacity", SINGLE, CONFIRM, found=capacity(rps), **more) if rps else None
    question = Question("heart", SLO, "v1", "v2")
    known = old.capacity if old else None
    return check(question, old, known, new, now=NOW, stale_after=1e6)


@pytest.mark.parametrize(
    ("made", "code", "failures", "errors"),
    [
        (checked(50.0), 0, 0, 0),
        (checked(50.0 * 0.8, 50.0 * 0.8), 0, 0, 0),
        (checked(50.0, 70.0), 1, 1, 0),
        (checked(None), 3, 0, 1),
        (checked(None, None), 3, 0, 1),
        (checked(50.0, None), 3, 0, 1),
        (checked(50.0, status=RunStatus.ABORTED), 3, 0, 2),
    ],
)
def test_the_report_of_a_check_agrees_with_its_exit_code(made, code, failures, errors):
    xml = check_junit(made)
    assert check_exit_code(made) == code
    assert (len(told(xml, "failure")), len(told(xml, "error"))) == (failures, errors)
    last = cases(xml)[-1]
    assert (last.get("classname"), last.get("name")) == ("heart.release", "capacity against version v1")


def test_a_check_of_an_objective_out_of_reach_fails_at_the_bound():
    slow = RUNS["infeasible"]
    made = check(Question("heart", SLO, "v1", "v2"), None, None, slow, now=NOW, stale_after=1e6)
    xml = check_junit(made)
    assert check_exit_code(made) == 1
    assert [name for name, _ in told(xml, "failure")] == ["p95 ≤ 100 ms"]
    assert told(xml, "error") == []
    assert [name for name, _ in told(xml, "skipped")][-1] == "capacity against version v1"


def test_a_failure_names_the_kinds_of_failures_and_what_was_taken():
    xml = run_junit(RUNS["taken"])
    assert told(xml, "failure") == [
        (
            "POST / invalid is refused",
            "1 of 100 requests that should be refused were accepted, 0 met a server error",
        )
    ]
    properties = {p.get("name"): p.get("value") for p in ET.fromstring(xml).iter("property")}
    assert properties["failures in load 1"] == "1 accepted"


def test_a_violated_error_ratio_says_how_requests_failed():
    broken = stage(failed=60)
    broken.log.outcome[broken.log.failed.nonzero()[0][:20]] = Outcome.TIMEOUT
    (message,) = [message for _, message in told(run_junit(run("load", broken)), "failure")]
    assert message.endswith("violated (40 server error, 20 timeout)")
