"""What a target needs, from its advice and its runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.api.web.glance import State, Tone, glance
from advisor.domain import (
    AdviceStatus,
    Capacity,
    Demand,
    Evidence,
    LatencyBound,
    Limit,
    Recommendation,
    Refusal,
    Replicas,
    Run,
    RunStatus,
    Slo,
    Verdict,
    VerdictStatus,
)

SLO = Slo((LatencyBound(0.95, 0.1),))
CAPACITY = Capacity(50.0, (45.0, 55.0), Limit.WORKERS, "identification", Evidence(1000, 60.0, 60.0))


def advice(rps=100.0, recommended=3, current=None, **changes):
    found = Recommendation(
        "heart", 0.0, AdviceStatus.OK, SLO, capacity=CAPACITY, demand=Demand(rps, "asked"),
        replicas=Replicas(recommended, 1, 10, "", current),
    )  # fmt: skip
    return replace(found, **changes)


def a_run(status=RunStatus.DONE, scenario="capacity", **changes):
    return Run("r1", "heart", scenario, SLO, 0.0, status, **changes)


REFUSED = {"status": AdviceStatus.REFUSED, "demand": None, "replicas": None}
INVALID = Verdict(VerdictStatus.INVALID, ("the generator was starved",))


@pytest.mark.parametrize(
    ("found", "last", "state", "tone", "need"),
    [
        (advice(), None, State.OK, Tone.GOOD, "Run 3 replicas"),
        (advice(recommended=1, rps=30), None, State.OK, Tone.GOOD, "Run 1 replica"),
        (advice(current=3), None, State.OK, Tone.GOOD, "It has what it needs: 3 replicas"),
        (advice(current=5), None, State.OK, Tone.GOOD, "It could run 3 replicas instead of 5"),
        (advice(current=2), None, State.SHORT, Tone.BAD, "Scale up from 2 to 3 replicas"),
        (advice(rps=136, current=3), None, State.SHORT, Tone.BAD, "Raise max_replicas: 3 replicas cannot"),
        (advice(demand=None, replicas=None), None,
         State.OK, Tone.WARN, "Say its demand"),
        (advice(status=AdviceStatus.STALE, reasons=("measure again",)), None, State.STALE, Tone.WARN,
         "measure again"),
        (advice(capacity=None, **REFUSED), None, State.UNMEASURED, Tone.WARN, "Measure its capacity"),
        (advice(capacity=None, **REFUSED), a_run(scenario="soak"), State.UNMEASURED, Tone.WARN,
         "Measure its capacity: no capacity run"),
        (advice(capacity=None, **REFUSED), a_run(verdict=INVALID), State.REFUSED, Tone.WARN,
         "Measure again, the last capacity run is invalid: the generator was starved"),
        (advice(capacity=Refusal("too noisy"), **REFUSED), a_run(), State.REFUSED, Tone.WARN,
         "No capacity can be told: too noisy"),
        (advice(capacity=Refusal("slow", infeasible=True), **REFUSED), a_run(), State.REFUSED, Tone.BAD,
         "No number of replicas meets the objective: slow"),
        (advice(), a_run(RunStatus.FAILED, reason="no route"), State.ERROR, Tone.BAD,
         "The last run (capacity) did not end well: no route"),
        (advice(), a_run(RunStatus.ABORTED), State.OK, Tone.GOOD, "Run 3 replicas"),
    ],
)  # fmt: skip
def test_state_and_need(found, last, state, tone, need):
    seen = glance(found, None, last)
    assert (seen.state, seen.tone) == (state, tone)
    assert seen.need.startswith(need)


def test_a_run_under_way_comes_first():
    seen = glance(advice(current=2), a_run(RunStatus.RUNNING, "soak"), a_run(RunStatus.FAILED))
    assert (seen.state, seen.tone, seen.need) == (State.RUNNING, Tone.BUSY, "A soak run is under way")


def test_headroom_counts_the_replicas_there_are():
    assert glance(advice(rps=90, current=4), None, None).headroom == pytest.approx(0.5)
    assert glance(advice(capacity=Refusal("too noisy"), **REFUSED), None, None).headroom is None
