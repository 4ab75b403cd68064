from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from advisor.domain import (
    Arrivals,
    LatencyBound,
    Outcome,
    Refusal,
    RequestLog,
    Run,
    RunStatus,
    Share,
    Slo,
    Stage,
    StageResult,
    StreamLog,
    Verdict,
    VerdictStatus,
    Window,
)
from advisor.loadtest.histogram import gap_histogram
from advisor.outputs.documents import stage_document
from advisor.store import Second, Store
from tests.store import strategies
from tests.store.same import same

SLO = Slo((LatencyBound(0.95, 0.1),))
_numbers = itertools.count()
WINDOW = Window(4.0, 5.0, {"ok": 40.0}, cpu_cores=0.5)
STAGE = Stage("warm", Arrivals.POISSON, 10.0, rate=5.0)


def a_run(run_id: str = "r1", **changes: object) -> Run:
    return replace(Run(run_id, "heart", "capacity", SLO, 1000.0, RunStatus.RUNNING), **changes)  # type: ignore[arg-type]


def a_log(start: float, count: int, outcome: Outcome = Outcome.OK) -> RequestLog:
    intended = start + np.arange(count) / (count + 1)
    return RequestLog(
        intended,
        intended + 0.001,
        intended + 0.05,
        np.full(count, outcome, np.int8),
        np.zeros(count, np.int16),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(run=strategies.runs)
def test_any_run_comes_back_as_it_was(store: Store, run: Run) -> None:
    run = replace(run, run_id=f"r{next(_numbers)}")  # one store sees all examples
    store.runs.add(run)

    assert same(store.runs.get(run.run_id), run)
    assert store.runs.head(run.run_id) == replace(run, stages=())


def test_a_stage_takes_the_place_of_its_seconds(store: Store) -> None:
    store.runs.add(a_run())
    store.runs.begin_stage("r1", 0, STAGE)
    for i in range(3):
        store.runs.add_second("r1", 0, Second(float(i), i + 1.0, a_log(i, 5), dropped=i))

    assert [second.start for second in store.runs.seconds("r1", 0, first=1)] == [1.0, 2.0]
    under_way = store.runs.get("r1")
    assert under_way is not None
    assert (len(under_way.stages[0].log), under_way.stages[0].dropped) == (15, 3)

    result = StageResult(STAGE, 0.0, 3.0, a_log(0, 15), dropped=3)
    store.runs.end_stage("r1", 0, result)

    ended = store.runs.get("r1")
    assert ended is not None
    assert same(ended.stages, (result,))


def test_streams_and_shares_stay_with_their_stage(store: Store) -> None:
    streams = StreamLog(
        *np.array([[0.0, 1.0], [0.0, 1.0], [0.2, 1.3], [0.9, 1.9]]),
        np.array([8, 7]),
        gap_histogram(np.ones(13)),
    )
    store.runs.add(a_run())
    store.runs.begin_stage("r1", 0, STAGE)
    store.runs.add_second("r1", 0, Second(0.0, 1.0, a_log(0, 2), streams=streams))

    under_way = store.runs.get("r1")
    assert under_way is not None
    assert same(under_way.stages[0].streams, streams)

    shares = (Share("a", 1), Share("b", 1, lost="1 s into the stage", lag=2.5, late=True))
    result = StageResult(STAGE, 0.0, 2.0, a_log(0, 2), streams=streams, shares=shares)
    store.runs.end_stage("r1", 0, result)

    ended = store.runs.get("r1")
    assert ended is not None
    assert same(ended.stages, (result,))
    (summary,) = store.runs.stages("r1")
    assert (same(summary.streams, streams), summary.shares) == (True, shares)
    document = stage_document(summary)
    assert document == stage_document(result)
    assert [worker.name for worker in document.workers or ()] == ["a", "b"]
    assert document.ttft_p50 == pytest.approx(0.25)


def test_a_summary_counts_failures_and_takes_quantiles_of_successes(store: Store) -> None:
    log = RequestLog.concat([a_log(0, 99), a_log(1, 3, Outcome.TIMEOUT)])
    store.runs.add(a_run(stages=(StageResult(STAGE, 0.0, 2.0, log, dropped=7),)))

    (summary,) = store.runs.stages("r1")

    assert (summary.requests, summary.errors, summary.dropped) == (102, 3, 7)
    assert summary.outcomes == {"ok": 99, "timeout": 3}
    assert summary.p95 == pytest.approx(0.05)
    assert summary.offered_rps == pytest.approx(109 / 2)
    assert summary.stage == STAGE


def test_a_stage_under_way_has_the_counts_of_its_seconds(store: Store) -> None:
    store.runs.add(a_run())
    store.runs.begin_stage("r1", 0, STAGE)
    (begun,) = store.runs.stages("r1")
    assert (begun.over, begun.requests, begun.end) == (False, None, None)

    store.runs.add_second("r1", 0, Second(1.0, 2.0, a_log(1, 30), 1))
    store.runs.add_second("r1", 0, Second(2.0, 3.0, a_log(2, 10, Outcome.TIMEOUT), 2))
    (so_far,) = store.runs.stages("r1")
    assert (so_far.over, so_far.start, so_far.end) == (False, 1.0, 3.0)
    assert (so_far.requests, so_far.errors, so_far.dropped) == (40, 10, 3)
    assert so_far.outcomes == {"ok": 30, "timeout": 10}
    assert so_far.completed_rps == pytest.approx(15.0)
    assert so_far.p95 is None


def test_an_interrupted_run_keeps_its_stages_and_the_seconds_of_the_last(store: Store) -> None:
    store.runs.add(a_run(), owner="dead")
    first = StageResult(STAGE, 0.0, 2.0, a_log(0, 9))
    store.runs.begin_stage("r1", 0, STAGE)
    store.runs.end_stage("r1", 0, first)
    second = replace(STAGE, name="hot", rate=50.0)
    store.runs.begin_stage("r1", 1, second)
    store.runs.add_second("r1", 1, Second(3.0, 4.0, a_log(3, 50), 1, 0.002, 0.5))
    store.runs.add_second("r1", 1, Second(4.0, 5.0, a_log(4, 40), 2, 0.004, 0.7, 3, (WINDOW,)))

    assert store.runs.interrupt("r1", now=2000.0, reason="the advisor died")

    run = store.runs.get("r1")
    assert run is not None
    assert (run.status, run.ended_at, run.reason) == (RunStatus.INTERRUPTED, 2000.0, "the advisor died")
    assert same(run.stages[0], first)
    kept = run.stages[1]
    assert (kept.stage, kept.start, kept.end, len(kept.log)) == (second, 3.0, 5.0, 90)
    assert (kept.dropped, kept.drained, kept.dispatch_delay_p99) == (3, False, 0.004)
    assert kept.generator_cpu == pytest.approx(0.6)
    assert kept.windows == (WINDOW,)
    assert store.runs.stages("r1")[1].requests == 90


def test_a_stage_without_a_second_is_no_stage_after_an_interruption(store: Store) -> None:
    store.runs.add(a_run())
    store.runs.begin_stage("r1", 0, STAGE)

    store.runs.interrupt("r1", now=1.0, reason="killed")

    assert store.runs.stages("r1") == ()


def test_a_run_ends_once(store: Store, open_store: Callable[[], Store]) -> None:
    store.runs.add(a_run())
    assert open_store().runs.interrupt("r1", now=5.0, reason="lost its lease")

    assert not store.runs.finish(a_run(status=RunStatus.DONE, ended_at=6.0))
    assert not store.runs.interrupt("r1", now=7.0, reason="again")
    head = store.runs.head("r1")
    assert head is not None
    assert head.ended_at == 5.0


def test_word_to_stop_reaches_the_owner_of_a_running_run(
    store: Store, open_store: Callable[[], Store]
) -> None:
    store.runs.add(a_run())
    assert store.runs.stop_asked("r1") is None

    assert open_store().runs.ask_to_stop("r1", "someone asked")
    assert store.runs.stop_asked("r1") == "someone asked"
    store.runs.finish(a_run(status=RunStatus.ABORTED))
    assert not store.runs.ask_to_stop("r1", "again")


def test_finish_writes_verdict_and_capacity(store: Store) -> None:
    store.runs.add(a_run())
    done = a_run(
        status=RunStatus.DONE,
        ended_at=6.0,
        verdict=Verdict(VerdictStatus.VALID, ("enough requests",)),
        capacity=Refusal("no", at_least=3.0),
        findings={"knee": 7.5},
    )

    assert store.runs.finish(done)
    assert store.runs.head("r1") == done


def test_newest_takes_only_the_asked_verdict_scenario_and_version(store: Store) -> None:
    valid, invalid = Verdict(VerdictStatus.VALID), Verdict(VerdictStatus.INVALID)
    store.runs.add(a_run("old", ended_at=1.0, verdict=valid, version="v1"))
    store.runs.add(a_run("good", ended_at=2.0, verdict=valid, version="v2"))
    store.runs.add(a_run("bad", ended_at=3.0, verdict=invalid, version="v2"))
    store.runs.add(a_run("soak", ended_at=4.0, verdict=valid, scenario="soak"))
    store.runs.add(a_run("other", ended_at=5.0, verdict=valid, target="lung"))

    def newest(**query: object) -> str | None:
        run = store.runs.newest("heart", **query)  # type: ignore[arg-type]
        return run.run_id if run else None

    assert newest() == "good"
    assert newest(version="v1") == "old"
    assert newest(verdicts=(VerdictStatus.INVALID,)) == "bad"
    assert newest(verdicts=(VerdictStatus.INCONCLUSIVE,)) is None


def test_prune_forgets_old_runs_but_not_what_advice_and_baselines_rest_on(store: Store) -> None:
    valid = Verdict(VerdictStatus.VALID)
    ended = {"status": RunStatus.DONE, "verdict": valid}
    stage = StageResult(STAGE, 1000.0, 1010.0, a_log(1000.0, 8))
    for run_id, at, changes in (
        ("oldest", 1000.0, {**ended, "stages": (stage,)}),
        ("newest of no version", 1100.0, ended),
        ("old baseline", 1000.0, {**ended, "version": "v1"}),
        ("old soak", 1000.0, {**ended, "scenario": "soak"}),
        ("invalid", 1100.0, {**ended, "verdict": Verdict(VerdictStatus.INVALID)}),
        ("recent", 3000.0, {**ended, "verdict": Verdict(VerdictStatus.INVALID)}),
    ):
        store.runs.add(a_run(run_id, ended_at=at, **changes))
    store.runs.add(a_run("under way"))
    store.runs.prune(before=2000.0, most=1)
    assert store.runs.get("oldest") is None
    assert store.runs.stages("oldest") == ()
    assert store.runs.get("invalid") is not None
    store.runs.prune(before=2000.0)
    assert {run.run_id for run in store.runs.list()} == {
        "newest of no version",
        "old baseline",
        "old soak",
        "recent",
        "under way",
    }


def test_last_ended_is_of_runs_that_may_count(store: Store) -> None:
    for run_id, ended_at, status in (
        ("a", 1.0, VerdictStatus.VALID),
        ("b", 2.0, VerdictStatus.INCONCLUSIVE),
        ("c", 3.0, VerdictStatus.INVALID),
    ):
        store.runs.add(a_run(run_id, ended_at=ended_at, verdict=Verdict(status)))
    store.runs.add(a_run("d", target="lung"))

    assert store.runs.last_ended(["heart", "lung", "none"]) == {"heart": 2.0}


def test_the_list_is_newest_first_and_pages(store: Store) -> None:
    for i in range(5):
        store.runs.add(a_run(f"r{i}", started_at=float(i), target="heart" if i % 2 else "lung"))

    assert [run.run_id for run in store.runs.list(limit=2)] == ["r4", "r3"]
    assert [run.run_id for run in store.runs.list(before=3.0)] == ["r2", "r1", "r0"]
    assert [run.run_id for run in store.runs.list(target="heart")] == ["r3", "r1"]
    assert store.runs.list(status=RunStatus.DONE) == ()


def test_the_latest_of_each_target_and_runs_by_id_are_one_question_each(store: Store) -> None:
    for number in range(3):
        store.runs.add(a_run(f"h{number}", started_at=1000.0 + number))
    store.runs.add(a_run("l0", target="lung", started_at=900.0))

    latest = store.runs.latest(["heart", "lung", "liver"])
    assert {target: [run.run_id for run in runs] for target, runs in latest.items()} == {
        "heart": ["h2", "h1"],
        "lung": ["l0"],
    }
    assert {key: run.target for key, run in store.runs.heads(["h0", "l0", "gone"]).items()} == {
        "h0": "heart",
        "l0": "lung",
    }
    assert store.runs.latest([]) == store.runs.heads([]) == {}


def test_a_fit_is_kept_by_run_and_replaced(store: Store) -> None:
    store.runs.add(a_run())
    store.runs.put_fit(a_run(), b"one", now=1.0)
    store.runs.put_fit(a_run(), b"two", now=2.0)

    assert store.runs.fit("r1") == b"two"
    assert store.runs.fit("r2") is None
