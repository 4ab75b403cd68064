"""May it be released? Every way to pass, to fail, and to know too little."""

import dataclasses
import math

import numpy as np
import pytest

from advisor.capacity.compare import Change
from advisor.capacity.gate import CheckStatus, Question, check
from advisor.domain import LatencyBound, Refusal, Run, RunStatus, Slo, Verdict, VerdictStatus, Window
from advisor.loadtest.verdict import judge
from tests.loadtest.build import poisson_log, result_of
from tests.scaling.advice import NOW, SLO, capacity

VALID = Verdict(VerdictStatus.VALID)
DAY = 86400.0
RNG = np.random.default_rng
QUESTION = Question("heart", SLO, "v12", "v13")


def stage(cores=None):
    log = poisson_log(20, 5, lambda t, rng: np.full(t.size, 0.02), np.random.default_rng(1))
    windows = (Window(0, 5, {"ok": 100.0}, cpu_limit_cores=cores),) if cores else ()
    return result_of(log, 20, 5, windows=windows)


def run(version, rps=70.0, verdict=VALID, found=None, cores=None, **more):
    if found is None:
        found = capacity(rps=rps, interval=(rps * math.exp(-0.05), rps * math.exp(0.05)))
    made = Run(
        f"run-{version}", "heart", "capacity", SLO, NOW - 60, RunStatus.DONE, (stage(cores),), verdict, found,
        ended_at=NOW, version=version, metadata={"kinds": ["POST /predict"]},
    )  # fmt: skip
    return dataclasses.replace(made, **more)


def asked(baseline, candidate, known=None, **more):
    known = known or (baseline.capacity if baseline else None)
    return check(QUESTION, baseline, known, candidate, now=NOW + DAY, stale_after=14 * DAY, **more)


@pytest.mark.parametrize(
    ("rps", "status", "change"),
    [
        (70.0, CheckStatus.PASSED, Change.SAME),
        (66.0, CheckStatus.PASSED, Change.SAME),
        (90.0, CheckStatus.PASSED, Change.IMPROVED),
        (52.0, CheckStatus.FAILED, Change.REGRESSED),
        (60.5, CheckStatus.FAILED, Change.REGRESSED),
    ],
)
def test_the_comparison_of_two_valid_runs_decides(rps, status, change):
    found = asked(run("v12"), run("v13", rps))
    assert (found.status, found.comparison.status) == (status, change)
    assert found.reasons == (found.comparison.why,)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("baseline", "candidate", "reason"),
    [
        (None, run("v13"), "no valid capacity of version 'v12' is stored: missing data does not pass"),
        (None, None, "no valid capacity of version 'v12' is stored: missing data does not pass"),
        (run("v12"), None, "no run of version 'v13' is stored: missing data does not pass"),
        (
            run("v12"),
            run("v13", verdict=None, status=RunStatus.FAILED, reason="the disk is full"),
            "run run-v13 has no verdict: it is failed (the disk is full)",
        ),
        (
            run("v12"),
            run("v13", verdict=Verdict(VerdictStatus.INVALID, ("the generator was late",))),
            "the evidence is invalid: the generator was late",
        ),
        (
            run("v12"),
            run("v13", 10.0, verdict=Verdict(VerdictStatus.INCONCLUSIVE, ("no soak confirmed it",))),
            "the evidence is inconclusive: no soak confirmed it",
        ),
        (run("v12"), run("v13", found=Refusal("at least 100/s", at_least=100.0)), "at least 100/s"),
        (
            run("v12"),
            run("v13", metadata={"kinds": ["POST /v2"]}),
            "the requests differ: POST /predict for the baseline, POST /v2 now",
        ),
        (
            run("v12", cores=2.0),
            run("v13", 30.0, cores=1.0),
            "the shape of the replica differs: a limit of 2 cores for the baseline, 1 now",
        ),
        (
            run("v12"),
            run("v13", slo=Slo((LatencyBound(0.95, 0.3),))),
            "run run-v13 was measured under another",
        ),
        (run("v12", found=Refusal("too slow", infeasible=True)), run("v13"), "the baseline has no capacity"),
    ],
)
def test_missing_or_doubtful_data_does_not_pass(baseline, candidate, reason):
    found = asked(baseline, candidate)
    assert found.status is CheckStatus.INCONCLUSIVE
    assert found.reasons[0].startswith(reason)


def test_wide_intervals_do_not_pass():
    wide = run("v13", found=capacity(rps=70.0, interval=(50.0, 90.0)))
    found = asked(run("v12"), wide)
    assert found.status is CheckStatus.INCONCLUSIVE
    assert "times the requests in both runs would tell" in found.reasons[0]


def test_a_doubtful_comparison_is_still_shown():
    doubtful = run("v13", 35.0, verdict=Verdict(VerdictStatus.INCONCLUSIVE, ("no soak",)))
    found = asked(run("v12"), doubtful)
    assert found.comparison.status is Change.REGRESSED
    assert found.reasons == ("the evidence is inconclusive: no soak", found.comparison.why)


@pytest.mark.parametrize("baseline", [run("v12"), None])
def test_an_objective_out_of_reach_fails_by_itself(baseline):
    slow = run("v13", found=Refusal("a single request takes 200 ms", infeasible=True))
    found = asked(baseline, slow)
    assert found.status is CheckStatus.FAILED
    assert found.reasons[0] == "a single request takes 200 ms"


def test_an_objective_out_of_reach_on_invalid_evidence_is_no_answer():
    slow = Refusal("a single request takes 200 ms", infeasible=True)
    found = asked(run("v12"), run("v13", found=slow, verdict=Verdict(VerdictStatus.INVALID, ("late",))))
    assert found.status is CheckStatus.INCONCLUSIVE


def test_an_unknown_shape_is_no_difference():
    assert asked(run("v12", cores=2.0), run("v13")).status is CheckStatus.PASSED
    assert asked(run("v12", cores=2.0), run("v13", cores=2.02)).status is CheckStatus.PASSED


def test_what_is_old_or_computed_is_told():
    old = run("v12", ended_at=NOW - 20 * DAY)
    moved = dataclasses.replace(old.capacity, warnings=("computed for p95 ≤ 80 ms",))
    found = asked(old, run("v13"), moved)
    assert found.status is CheckStatus.PASSED
    assert found.warnings[0].startswith("the baseline was measured 504 h ago")
    assert found.warnings[1] == "computed for p95 ≤ 80 ms"


def test_a_baseline_that_cannot_be_computed_for_the_objective_does_not_pass():
    found = asked(run("v12"), run("v13"), Refusal("the stored fit does not reach p95 ≤ 10 ms"))
    assert found.status is CheckStatus.INCONCLUSIVE
    assert "does not reach p95 ≤ 10 ms" in found.reasons[0]


def wide(rps):
    """Known to ± 15 %: the verdict wants more requests."""
    found = capacity(rps=rps, interval=(rps * math.exp(-0.15), rps * math.exp(0.15)))
    singles = result_of(poisson_log(20, 5, lambda t, rng: np.full(t.size, 0.02), RNG(2)), 20, 5, "confirm 1")
    verdict = judge((singles,), SLO, found)
    return run("v13", verdict=verdict, found=found, stages=(singles,))


def test_a_clear_regression_fails_although_more_requests_would_tell_it_more_precisely():
    candidate = wide(40.0)
    assert candidate.verdict.status is VerdictStatus.INCONCLUSIVE
    found = asked(run("v12"), candidate)
    assert found.status is CheckStatus.FAILED
    assert found.reasons[0] == found.comparison.why
    assert "the capacity is known to ± 15 %" in found.reasons[1]


def test_imprecise_evidence_never_passes_and_other_objections_never_fail():
    assert asked(run("v12"), wide(90.0)).status is CheckStatus.INCONCLUSIVE
    doubtful = wide(40.0)
    verdict = dataclasses.replace(
        doubtful.verdict, reasons=(*doubtful.verdict.reasons, "the halves disagree")
    )
    found = asked(run("v12"), dataclasses.replace(doubtful, verdict=verdict))
    assert found.comparison.status is Change.REGRESSED
    assert found.status is CheckStatus.INCONCLUSIVE
