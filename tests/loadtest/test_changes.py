"""A target that is changed in the middle of a run: the executor, the phases, and what came of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import time

import numpy as np
import pytest

from advisor.domain import (
    Arrivals,
    Capacity,
    Evidence,
    LatencyBound,
    Limit,
    Outcome,
    Refusal,
    RequestLog,
    RunStatus,
    Slo,
    Stage,
    StageResult,
    Stop,
    VerdictStatus,
)
from advisor.loadtest.execute import Ended, Observer, execute
from advisor.loadtest.findings import (
    findings_of,
    replay_findings,
    rollout_findings,
    scalability_findings,
)
from advisor.loadtest.findings.scalability import fit_usl
from advisor.loadtest.hook import Change, HookResult
from advisor.loadtest.phases import phases
from advisor.loadtest.plan import Caps, RolloutPlan, ScalabilityPlan
from advisor.loadtest.plan.common import Hooked
from advisor.loadtest.plan.scalability import at_count
from advisor.loadtest.verdict import judge
from tests.loadtest.build import log_of, result_of
from tests.loadtest.simulated import Bench, Server, SimulatedGenerator, play, seconds_of
from tests.loadtest.test_plan import full_fit, quantile_fit

SLO = Slo((LatencyBound(0.95, 0.2),), 0.001)
CAPS = Caps(1000.0, 400, 600.0)


# ------------------------------------------------------------------------------------------------ executor


class Lasting(SimulatedGenerator):
    """A stage that goes on in real time, a record each hundredth of a second, until it is told to end."""

    def __init__(self) -> None:
        super().__init__(Bench(Server()))
        self.told = asyncio.Event()

    async def run_stage(self, stage):
        result = self.bench.run(stage)
        parts = seconds_of(result)
        begin = time.time() - self.epoch
        for i in range(1000):
            if self.told.is_set():
                yield _at(result, begin, time.time() - self.epoch)
                return
            yield parts[i % len(parts)]
            await asyncio.sleep(0.01)

    async def finish(self):
        await super().finish()
        self.told.set()

    async def abort(self):
        self.told.set()


def _at(result: StageResult, begin: float, end: float) -> StageResult:
    """Requests each millisecond, that take a millisecond."""
    times = np.arange(begin, end, 1e-3)
    return dataclasses.replace(result, start=begin, end=end, log=log_of(times, np.full(times.size, 1e-3)))


class Swap:
    """A change that takes a while."""

    what = "swap"

    def __init__(self, seconds: float = 0.1, problem: str | None = None) -> None:
        self.seconds = seconds
        self.problem = problem
        self.cancelled = False
        self.asked: list[int | None] = []

    async def __call__(self, replicas: int | None = None) -> HookResult:
        self.asked.append(replicas)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return HookResult(1 if self.problem else 0, (), self.problem)


class Names(Observer):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_stage_start(self, stage):
        self.events.append(f"start {stage.name}")

    def on_change(self, what, replicas):
        self.events.append(what)

    def on_stage_end(self, result):
        self.events.append(f"end {result.stage.name}")


@dataclasses.dataclass(frozen=True)
class OneChange:
    """One stage with a change in it, or before it."""

    hooked: Hooked
    caps: Caps = CAPS
    scenario: str = "rollout"

    def next_stage(self, history):
        return Stop("done") if history else self.hooked


STAGE = Stage("rollout", Arrivals.POISSON, 60.0, rate=50.0)


def test_a_stage_is_cut_where_the_target_was_changed_and_ends_after_it():
    notes, hook, generator = Names(), Swap(0.2), Lasting()
    plan = OneChange(Hooked(STAGE, at=0.2, after=0.2))
    found = asyncio.run(execute(plan, generator, observers=[notes], hook=hook))
    assert generator.finished
    assert (found.ended, found.status, found.reason) == (Ended.PLAN, RunStatus.DONE, "done")
    assert [r.stage.name for r in found.stages] == ["before", "during", "after"]
    assert notes.events == [
        "start rollout", "swap", "end before", "start during", "end during", "start after", "end after"
    ]  # fmt: skip
    (change,) = found.changes
    during = found.stages[1]
    assert (during.start, during.end) == (change.start, change.end)
    assert change.end - change.start == pytest.approx(0.2, abs=0.15)
    assert found.stages[0].end == during.start
    assert found.stages[2].start == during.end


def test_a_change_that_fails_ends_the_run_with_its_problem_after_the_stage():
    hook = Swap(0.05, "the hook 'swap' failed: it ended with exit code 1")
    found = asyncio.run(execute(OneChange(Hooked(STAGE, at=0.05, after=0.1)), Lasting(), hook=hook))
    assert (found.ended, found.status) == (Ended.HOOK, RunStatus.FAILED)
    assert found.reason == hook.problem
    assert [r.stage.name for r in found.stages] == ["before", "during", "after"]


def test_a_change_before_a_stage_comes_without_load():
    hook, generator = Swap(), SimulatedGenerator(Bench(Server()))
    found = asyncio.run(execute(OneChange(Hooked(STAGE, replicas=3)), generator, hook=hook))
    assert hook.asked == [3]
    assert [r.stage.name for r in found.stages] == ["rollout"]
    assert found.changes[0].replicas == 3


def test_where_the_change_before_a_stage_fails_there_is_no_load():
    generator = SimulatedGenerator(Bench(Server()))
    plan = OneChange(Hooked(STAGE, replicas=3))
    found = asyncio.run(execute(plan, generator, hook=Swap(problem="no such deployment")))
    assert (found.ended, found.reason, found.stages) == (Ended.HOOK, "no such deployment", ())
    assert generator.bench.asked == []


@pytest.mark.parametrize("at", [0.05, None])
def test_told_to_stop_in_the_middle_of_a_change_the_load_ends_and_the_change_too(at):
    async def scenario():
        abort, hook = asyncio.Event(), Swap(60)
        asyncio.get_running_loop().call_later(0.3, abort.set)
        began = time.monotonic()
        plan = OneChange(Hooked(STAGE, at=at, after=1.0))
        found = await execute(plan, Lasting(), hook=hook, abort=abort)
        return found, hook, time.monotonic() - began

    found, hook, took = asyncio.run(scenario())
    assert took < 2
    assert hook.cancelled
    assert (found.ended, found.status) == (Ended.ASKED, RunStatus.ABORTED)
    assert found.changes[0].result.problem == "'swap' was stopped with the run"
    assert [r.stage.name for r in found.stages] == ([] if at is None else ["before", "during"])


def test_a_stage_that_ends_before_its_change_leaves_nothing_behind():
    hook = Swap(60)
    generator = SimulatedGenerator(Bench(Server()))  # virtual time: over at once
    found = asyncio.run(execute(OneChange(Hooked(STAGE, at=0.0)), generator, hook=hook))
    assert [r.stage.name for r in found.stages] in (["rollout"], ["before"])
    assert found.ended in {Ended.PLAN, Ended.HOOK}
    assert hook.cancelled or not hook.asked


def test_an_alarm_ends_the_run():
    async def alarm():
        return "the database lags"

    found = asyncio.run(execute(OneChange(Hooked(STAGE, at=30.0)), Lasting(), hook=Swap(), alarms=[alarm]))
    assert (found.ended, found.reason) == (Ended.GUARD, "the database lags")
    assert found.status is RunStatus.ABORTED


# ------------------------------------------------------------------------------------------------ phases


def test_each_request_is_in_one_phase_and_those_in_flight_belong_to_the_change():
    log = log_of([0.5, 1.9, 2.5, 3.5], [0.1, 0.4, 2.0, 0.1])
    result = result_of(log, 1.0, 5.0, "rollout")
    before, during, after = phases(result, (), 2.0, 3.0, 0.0)
    assert before.log.intended.tolist() == [0.5]
    assert during.log.intended.tolist() == [1.9, 2.5]
    assert after.log.intended.tolist() == [3.5]
    assert (before.start, before.end, during.end, after.end) == (0.0, 2.0, 3.0, 5.0)
    assert during.stage.seconds == 1.0


@pytest.mark.parametrize(("begin", "end"), [(-1.0, 2.0), (2.0, 9.0), (7.0, 9.0), (2.0, 2.0)])
def test_no_request_is_lost_where_a_phase_has_no_length(begin, end):
    rng = np.random.default_rng(2)
    result = result_of(log_of(np.sort(rng.random(200)) * 5, rng.random(200)), 40.0, 5.0, "rollout")
    parts = phases(result, (), begin, end, 0.0)
    assert sum(len(part.log) for part in parts) == 200
    assert all(part.end > part.start for part in parts)


# ------------------------------------------------------------------------------------------------ findings


def rollout(outage=(10.0, 12.0), slow_until=15.0, rate=100.0, seconds=40.0):
    """Refused connections in an outage, then cold caches: 0.5 s a request until `slow_until`."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.random(rng.poisson(rate * seconds))) * seconds
    cold = (times >= outage[1]) & (times < slow_until)
    latency = np.where(cold, 0.5, rng.lognormal(np.log(0.02), 0.4, times.size))
    outcome = np.where((times >= outage[0]) & (times < outage[1]), Outcome.CONNECTION, Outcome.OK)
    result = result_of(log_of(times, latency, outcome.astype(np.int8)), rate, seconds, "rollout")
    change = Change("deploy", outage[0], outage[1] + 0.5, HookResult(0))
    return phases(result, (), change.start, change.end, 0.0), change


def test_a_rollout_counts_what_failed_and_tells_when_it_was_over():
    history, change = rollout()
    found = rollout_findings(history, [change], SLO)
    assert found.failed_requests == pytest.approx(200, abs=60)
    assert found.during.failures == {"connection": found.during.failed}
    assert found.before.failed == 0
    assert found.after.failed == 0
    assert found.trouble_seconds == pytest.approx(15.0 - 10.0, abs=1.0)
    assert found.latency_before == pytest.approx(0.038, rel=0.2)
    assert found.latency_worst == pytest.approx(0.5, rel=0.05)
    assert found.change_seconds == 2.5
    data = json.loads(json.dumps(findings_of("rollout", history, SLO, [change])))
    assert data["failed_requests"] == found.failed_requests


def test_a_rollout_without_a_trace_has_no_trouble():
    history, change = rollout(outage=(10.0, 10.0), slow_until=10.0)
    found = rollout_findings(history, [change], SLO)
    assert (found.failed_requests, found.trouble_seconds) == (0, 0.0)


def test_a_rollout_that_does_not_come_back_says_so():
    history, change = rollout(slow_until=99.0)
    assert rollout_findings(history, [change], SLO).trouble_seconds is None


def test_a_rollout_that_did_not_begin_yields_nothing():
    assert rollout_findings((), [], SLO) is None
    assert findings_of("rollout", (), SLO) == {}


def test_the_change_itself_needs_no_length_for_a_valid_verdict():
    history, _ = rollout(outage=(10.0, 10.0), slow_until=10.0)
    assert judge(history, SLO).status is VerdictStatus.VALID


def test_a_rollout_without_a_rate_finds_one_first():
    history, stop = play(RolloutPlan(SLO, CAPS, before=5, after=5, patience=10), Bench(Server(work=0.02)), 6)
    assert history[0].stage.arrivals is Arrivals.SINGLE
    assert history[-1].stage.rate == pytest.approx(25 / 1.4, rel=0.5)  # half of 0.7 of what the ramp showed
    assert stop.reason == f"the change took 1 s under {history[-1].stage.rate:.3g}/s"


def replay(latency, seconds=100.0):
    rng = np.random.default_rng(4)
    times = np.sort(rng.random(5000)) * seconds
    return result_of(log_of(times, latency(times)), 50.0, seconds, "replay", arrivals=Arrivals.REPLAY)


def test_a_replay_tells_the_share_of_time_and_of_requests_within_the_objective():
    """A quarter of the time too slow: 0.5 s from 50 to 75 s, worst of all 2 s at 60 s."""

    def latency(times):
        return np.where((times >= 60) & (times < 61), 2.0, np.where((times >= 50) & (times < 75), 0.5, 0.02))

    found = replay_findings(replay(latency), SLO)
    assert found.time_within == pytest.approx(0.75, abs=0.02)
    assert found.requests_within == pytest.approx(0.75, abs=0.03)
    assert 50 <= found.worst.at < 75
    assert found.worst.latency >= 0.5
    assert found.mean_rps == pytest.approx(50)
    assert found.latency == pytest.approx(0.5)


def test_a_replay_within_the_objective_is_so_all_the_time():
    found = replay_findings(replay(lambda times: np.full(times.size, 0.02)), SLO)
    assert (found.time_within, found.requests_within, found.error_ratio) == (1.0, 1.0, 0.0)


# -------------------------------------------------------------------------------------------- scalability


def usl(n, one=50.0, sigma=0.05, kappa=0.01):
    return one * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def test_the_law_is_found_with_intervals_that_cover():
    rng = np.random.default_rng(6)
    counts = np.array([1, 2, 4, 8, 12], float)
    covered, peaks = [], []
    for _ in range(100):
        found = fit_usl(counts, usl(counts) * np.exp(0.02 * rng.normal(size=5)), np.full(5, 0.02))
        covered.append(found.sigma_interval[0] <= 0.05 <= found.sigma_interval[1])
        covered.append(found.kappa_interval[0] <= 0.01 <= found.kappa_interval[1])
        assert found.kappa_shown
        peaks.append(found.peak_replicas)
    assert 0.84 <= np.mean(covered) <= 0.96
    assert np.median(peaks) == pytest.approx(math.sqrt(0.95 / 0.01), rel=0.05)


def test_what_is_not_different_from_zero_is_said_so_and_bounds_the_peak():
    counts = np.array([1, 2, 4], float)
    found = fit_usl(counts, 50 * counts * np.array([1.01, 0.99, 1.0]), np.full(3, 0.03))
    assert not found.sigma_shown
    assert not found.kappa_shown
    assert found.peak_replicas is None
    assert found.peak_at_least >= 4


def test_replicas_that_gain_from_one_another_have_no_peak():
    counts = np.array([1, 2, 4], float)
    found = fit_usl(counts, np.array([15.45, 39.6, 89.95]), np.full(3, 0.05))
    assert found.sigma < 0
    assert found.sigma_shown
    assert (found.peak_replicas, found.peak_at_least) == (None, None)


def capacity(rps, saturation=None):
    return Capacity(
        rps, (rps * 0.95, rps * 1.05), Limit.UNKNOWN, "test", Evidence(1, 1.0, 1.0), saturation_rps=saturation
    )


def test_efficiency_is_that_of_one_replica_against_the_lowest_count():
    found = scalability_findings({2: capacity(100.0), 4: capacity(160.0), 8: Refusal("no knee")})
    assert [point.efficiency for point in found.points] == [1.0, pytest.approx(0.8), None]
    assert found.law is None
    assert found.refusal == "the law of scalability needs 3 replica counts with a capacity, found 2"
    assert found.points[2].refusal == "no knee"


def test_the_law_is_of_the_saturation_where_that_is_known():
    known = {n: capacity(40.0 * n**1.2, saturation=50.0 * n) for n in (1, 2, 4)}
    found = scalability_findings(known)
    assert found.law.throughput == "saturation"
    assert found.law.rps_of_one == pytest.approx(50)
    known[4] = capacity(200.0)
    assert scalability_findings(known).law.throughput == "capacity"


def test_a_capacity_is_searched_at_each_count_within_its_share_of_the_budget():
    plan = ScalabilityPlan(SLO, quantile_fit, Caps(2000.0, 400, 300.0), (1, 2, 4))
    history, stop = play(plan, Bench(Server(work=0.02, cv=0.5)), most=90)
    assert stop.reason == "all 3 numbers of replicas had their turn"
    assert history[-1].end <= 301.0  # the bench's own pauses count, too
    begins = [next(r.start for r in history if r.stage.name.endswith(f"({n})")) for n in NAMES]
    assert begins == sorted(begins)
    assert begins[1] < 130
    part = at_count(history, 2)
    assert part[0].start == 0
    assert part[0].stage.name == "single 1 (2 replicas)"
    found = plan.conclude(history, full_fit)
    rates = [found[n].rps for n in (1, 2, 4)]
    assert rates[1] / rates[0] == pytest.approx(2, rel=0.5)
    assert rates[2] / rates[1] == pytest.approx(2, rel=0.5)
    assert judge(history, SLO).status is VerdictStatus.VALID


NAMES = ("1 replica", "2 replicas", "4 replicas")


def test_a_budget_that_is_too_short_for_all_counts_says_which_had_no_turn():
    plan = ScalabilityPlan(SLO, quantile_fit, Caps(2000.0, 400, 40.0), (1, 2, 4))
    _, stop = play(plan, Bench(Server(work=0.02)), most=90)
    assert "ended before the turn of" in stop.reason


def test_a_log_in_its_own_time_is_the_same_log():
    log = log_of([10.0, 11.0], [0.5, 0.5])
    history = (dataclasses.replace(result_of(log, 1.0, 2.0, "knee 1 (2 replicas)"), start=10.0, end=12.0),)
    (moved,) = at_count(history, 2)
    assert isinstance(moved.log, RequestLog)
    assert moved.log.intended.tolist() == [0.0, 1.0]
    assert moved.log.latency.tolist() == [0.5, 0.5]
