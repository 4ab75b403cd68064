"""Exit codes, from what a run showed."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.cli.outcome import advice_exit_code, exit_code, violations
from advisor.domain import (
    AdviceStatus,
    Arrivals,
    Capacity,
    Evidence,
    LatencyBound,
    Limit,
    Outcome,
    Recommendation,
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

SLO = Slo((LatencyBound(0.95, 0.1),), 0.01)
CAPACITY = Capacity(80.0, (75.0, 85.0), Limit.WORKERS, "identification", Evidence(1000, 60.0, 100.0))
VALID, INCONCLUSIVE, INVALID = (Verdict(status) for status in VerdictStatus)


def stage(latency=0.05, failed=0, arrivals=Arrivals.POISSON, n=1000):
    intended = np.linspace(0.0, 20.0, n)
    outcome = np.zeros(n, np.int8)
    outcome[np.linspace(0, n - 1, failed).astype(int)] = Outcome.SERVER_ERROR  # spread, not in one spell
    log = RequestLog(intended, intended, intended + latency, outcome, np.zeros(n, np.int16))
    return StageResult(Stage("load 1", arrivals, 20.0, n / 20), 0.0, 20.0, log)


def run(scenario="load", *stages, verdict=VALID, status=RunStatus.DONE, capacity=None):
    return Run("1", "t", scenario, SLO, 0.0, status, stages, verdict, capacity)


@pytest.mark.parametrize(
    ("measured", "code"),
    [
        (run("load", stage()), 0),
        (run("load", stage(latency=0.2)), 1),
        (run("load", stage(failed=100)), 1),
        (run("spike", stage(latency=0.2, arrivals=Arrivals.REPLAY)), 1),
        (run("load", stage(), verdict=INCONCLUSIVE), 3),
        (run("load", stage(), verdict=None), 3),
        (run("load", stage(latency=0.2), verdict=INCONCLUSIVE), 1),
        (run("load", stage(latency=0.2), verdict=INVALID), 3),
        (run("load", stage(failed=600), verdict=INCONCLUSIVE, status=RunStatus.ABORTED), 1),
        (run("load", stage(), verdict=INCONCLUSIVE, status=RunStatus.ABORTED), 3),
        (run("load", stage(), verdict=VALID, status=RunStatus.FAILED), 3),
        (run("smoke", stage(n=5, arrivals=Arrivals.SINGLE)), 0),
        (run("smoke", stage(n=5, failed=1, arrivals=Arrivals.SINGLE)), 1),
        (run("capacity", stage(latency=0.2), capacity=CAPACITY), 0),
        (run("capacity", stage(), capacity=CAPACITY, verdict=INCONCLUSIVE), 3),
        (run("capacity", stage(), capacity=Refusal("too little"), verdict=INCONCLUSIVE), 3),
        (run("capacity", stage(), capacity=Refusal("at 50 ms", infeasible=True)), 1),
        (run("capacity", stage(), capacity=Refusal("at 50 ms", infeasible=True), verdict=None), 1),
        (run("capacity", stage()), 3),
        (run("stress", stage(latency=0.2)), 0),
    ],
)
def test_exit_codes_of_runs(measured, code):
    assert exit_code(measured) == code


def test_a_violation_says_where_and_by_how_much():
    (sentence,) = violations(run("load", stage(latency=0.2)))
    assert sentence == "stage load 1: 100 % of 1000 requests over p95 ≤ 100 ms (5 % may be): violated"


@pytest.mark.parametrize(
    ("status", "capacity", "code"),
    [
        (AdviceStatus.OK, CAPACITY, 0),
        (AdviceStatus.STALE, CAPACITY, 0),
        (AdviceStatus.REFUSED, None, 3),
        (AdviceStatus.REFUSED, Refusal("too little"), 3),
        (AdviceStatus.REFUSED, Refusal("at 50 ms", infeasible=True), 1),
    ],
)
def test_exit_codes_of_advice(status, capacity, code):
    assert advice_exit_code(Recommendation("t", 0.0, status, SLO, capacity=capacity)) == code
