"""Runs through the whole service: a real generator against a real server."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest

from advisor.domain import Capacity, Outcome, RunStatus, VerdictStatus
from advisor.errors import (
    NotAllowed,
    NotFound,
    PayloadRejected,
    RunOver,
    TargetBusy,
    TargetUnreachable,
)
from advisor.service.app import Advisor
from advisor.service.bus import News, RunEvent
from advisor.service.conduct import TOO_EARLY
from advisor.service.options import RunOptions
from advisor.service.whatif import Question
from tests.integration.service.conftest import Configure, virtual_server
from tests.servers.postgres import new_database, postgres_server

pytestmark = pytest.mark.integration


def test_a_load_run_is_measured_told_and_kept(configure: Configure) -> None:
    settings = configure()

    async def scenario() -> list[RunEvent]:
        async with Advisor(settings) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=40, duration=4))
            assert run.status is RunStatus.RUNNING
            news = [event async for event in advisor.watch(run.run_id)]
            kept = await advisor.wait(run.run_id)
            (summary,) = await advisor.stages(run.run_id)

            assert kept.status is RunStatus.DONE
            assert kept.ended_at is not None
            (stage,) = kept.stages
            assert 100 <= len(stage.log) <= 230  # Poisson around 160
            assert (stage.log.outcome == Outcome.OK).all()
            assert kept.verdict is not None
            assert summary.requests == len(stage.log)
            assert (await advisor.runs())[0].run_id == run.run_id
            # A second watcher, after the end, is told what it came to.
            late = [event.kind async for event in advisor.watch(run.run_id)]
            assert late == [
                News.STARTED, News.STAGE_START, News.STAGE_END, News.VERDICT, News.DONE
            ]  # fmt: skip
            again = [event async for event in advisor.watch(run.run_id, after=len(news))]
            assert [event.kind for event in again] == [News.VERDICT, News.DONE]
            return news

    news = asyncio.run(scenario())

    kinds = [event.kind for event in news]
    assert kinds[0] is News.STARTED
    assert kinds[-2:] == [News.VERDICT, News.DONE]
    assert [event.number for event in news] == list(range(1, len(news) + 1))
    seconds = [event for event in news if event.kind is News.SECOND]
    (end,) = (event for event in news if event.kind is News.STAGE_END)
    assert sum(int(event.data["requests"]) for event in seconds) == end.data["requests"]  # type: ignore[call-overload]
    assert end.data["rate"] == 40


def test_an_abort_ends_the_load_within_two_seconds_and_keeps_what_was_measured(configure: Configure) -> None:
    settings = configure()

    async def scenario() -> None:
        async with Advisor(settings) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=40, duration=60))
            await _seconds(advisor, run.run_id, 3)
            began = time.monotonic()
            await advisor.abort_run(run.run_id, "the test has seen enough")
            ended = await advisor.wait(run.run_id)

            assert time.monotonic() - began < 10  # 2 s, and time for the verdict on a busy machine
            assert ended.status is RunStatus.ABORTED
            assert ended.reason == "the test has seen enough"
            assert len(ended.stages[0].log) > 40
            assert ended.verdict is not None
            assert ended.verdict.status is not VerdictStatus.VALID
            with pytest.raises(RunOver, match="is over: aborted"):
                await advisor.abort_run(run.run_id)

    asyncio.run(scenario())


def test_a_start_that_is_cancelled_while_it_is_written_leaves_no_running_run(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configure()

    async def scenario() -> None:
        async with Advisor(settings) as advisor:
            add, writing = advisor.store.runs.add, threading.Event()

            def slow(*values: Any) -> None:
                writing.set()
                time.sleep(0.2)
                add(*values)

            monkeypatch.setattr(advisor.store.runs, "add", slow)
            start = asyncio.create_task(advisor.start_run("sleepy", "smoke"))
            await asyncio.to_thread(writing.wait, 30)
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
            (run,) = await advisor.runs()
            assert (run.status, run.reason) == (RunStatus.ABORTED, TOO_EARLY)
            assert advisor.store.leases.holder("run:sleepy") is None

    asyncio.run(scenario())


def test_a_run_that_is_ended_at_once_keeps_the_seconds_it_measured(configure: Configure) -> None:
    """What a second Ctrl-C does: all tasks are cancelled, and nobody waits for the load to stop in order."""
    settings = configure()

    async def scenario() -> None:
        async with Advisor(settings) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=40, duration=60))
            await _seconds(advisor, run.run_id, 3)
            (task,) = (task for task in asyncio.all_tasks() if "_through" in repr(task))
            task.cancel()
            ended = await advisor.wait(run.run_id)

            assert ended.status is RunStatus.INTERRUPTED
            assert len(ended.stages[0].log) > 20

    asyncio.run(scenario())


def test_a_generator_that_dies_fails_the_run_and_frees_the_target(configure: Configure) -> None:
    settings = configure()

    async def scenario() -> None:
        async with Advisor(settings) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=40, duration=60))
            await _seconds(advisor, run.run_id, 2)
            (engine,) = (
                child
                for child in psutil.Process().children(recursive=True)
                if "advisor.loadtest.engine" in " ".join(child.cmdline())
            )
            engine.kill()
            ended = await advisor.wait(run.run_id)

            assert ended.status is RunStatus.FAILED
            assert ended.reason is not None
            assert "signal 9" in ended.reason
            assert len(ended.stages[0].log) > 20
            again = await advisor.start_run("sleepy", "smoke")
            assert (await advisor.wait(again.run_id)).status is RunStatus.DONE

    asyncio.run(scenario())


def test_a_run_that_loses_its_target_stops_its_load(configure: Configure) -> None:
    settings = configure()

    async def scenario() -> None:
        async with Advisor(settings) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=40, duration=60))
            await _seconds(advisor, run.run_id, 1)
            rival = replace(advisor.owner, owner="rival")
            taken = advisor.store.leases.take("run:sleepy", rival, now=advisor.store.now() + 100, seconds=1)
            assert taken
            ended = await advisor.wait(run.run_id)

            assert ended.status is RunStatus.ABORTED
            assert ended.reason == "this advisor lost the target: another advisor has taken over"

    asyncio.run(scenario())


def test_a_target_is_loaded_by_one_run_at_a_time_across_advisors(configure: Configure) -> None:
    settings = configure()

    async def scenario() -> None:
        async with Advisor(settings) as first, Advisor(settings) as second:
            run = await first.start_run("sleepy", "load", RunOptions(rate=20, duration=60))
            with pytest.raises(TargetBusy, match=f"the load run {run.run_id} has held it since"):
                await first.start_run("sleepy", "smoke")
            with pytest.raises(TargetBusy):
                await second.start_run("sleepy", "smoke")
            assert await second.coordinator.recover() == []

            # The other advisor can stop it, and sees its end.
            await _seconds(first, run.run_id, 1)
            await second.abort_run(run.run_id, "asked elsewhere")
            ended = await second.wait(run.run_id)
            assert (ended.status, ended.reason) == (RunStatus.ABORTED, "asked elsewhere")

            again = await second.start_run("sleepy", "smoke")
            assert (await second.wait(again.run_id)).status is RunStatus.DONE

    asyncio.run(scenario())


def test_advisors_that_share_a_postgresql_share_the_target(configure: Configure) -> None:
    async def scenario(url: str) -> None:
        settings = configure().model_copy(update={"store": url})
        async with Advisor(settings, background=True) as first, Advisor(settings, background=True) as second:
            assert (first.leads, second.leads) == (True, False)
            run = await first.start_run("sleepy", "load", RunOptions(rate=40, duration=60))
            await _seconds(first, run.run_id, 2)
            with pytest.raises(TargetBusy):
                await second.start_run("sleepy", "smoke")
            heard = []
            async for event in second.watch(run.run_id):
                heard.append(event.kind)
                if event.kind is News.SECOND and heard.count(News.SECOND) == 4:
                    await second.abort_run(run.run_id, "asked elsewhere")
            assert heard[:3] == [News.STARTED, News.STAGE_START, News.SECOND]
            assert heard[-3:] == [News.STAGE_END, News.VERDICT, News.DONE]
            ended = await second.wait(run.run_id)
            assert ended.status is RunStatus.ABORTED
            assert len(ended.stages[0].log) > 20

    with postgres_server() as folder:
        asyncio.run(scenario(new_database(folder)))


def test_stopping_the_advisor_aborts_its_runs_and_keeps_them(configure: Configure) -> None:
    settings = configure()

    async def first() -> str:
        async with Advisor(settings) as advisor:
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=40, duration=60))
            await _seconds(advisor, run.run_id, 2)
            return run.run_id

    async def second(run_id: str) -> None:
        async with Advisor(settings) as advisor:
            run = await advisor.full_run(run_id)
            assert (run.status, run.reason) == (RunStatus.ABORTED, "the advisor was shut down")
            assert len(run.stages[0].log) > 20

    asyncio.run(second(asyncio.run(first())))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"url": "http://127.0.0.1:1"}, TargetUnreachable, "127.0.0.1:1"),
        ({"requests": [{"path": "/", "expect": "201"}]}, PayloadRejected, "expected 201"),
        ({"production": True}, NotAllowed, "is production"),
        ({"blackout": [{"cron": "* * * * *", "duration": "1h"}]}, NotAllowed, "blackout"),
    ],
)
def test_what_may_not_run_is_refused_before_any_load_and_leaves_the_target_free(
    configure: Configure, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    settings = configure(**changes)

    async def scenario() -> None:
        async with Advisor(settings) as advisor:
            for _ in range(2):  # the second would be busy, had the first kept the target
                with pytest.raises(error, match=words):
                    await advisor.start_run("sleepy", "smoke")
            assert await advisor.runs() == ()

    asyncio.run(scenario())


def test_an_unknown_target_is_answered_with_those_there_are(configure: Configure) -> None:
    async def scenario() -> None:
        async with Advisor(configure()) as advisor:
            with pytest.raises(NotFound, match="no target 'sleep'") as caught:
                await advisor.start_run("sleep", "smoke")
            assert caught.value.hint == "there are: sleepy"

    asyncio.run(scenario())


def test_a_capacity_run_finds_the_capacity_and_advises(configure: Configure) -> None:
    """One worker, work exactly 40 ms, p95 ≤ 120 ms. How exact the answer is, the benchmarks tell."""
    truth = _highest_rate(work=0.040, p95=0.120)
    with virtual_server("--workers", "1", "--mean", "0.04", "--cv", "0") as port:
        settings = configure(
            url=f"http://127.0.0.1:{port}",
            slo={"latency": {"p95": "120ms"}},
            demand_rps=50,
            scaling={"max_replicas": 1000},
        )

        async def scenario() -> None:
            async with Advisor(settings) as advisor:
                for _ in range(3):  # a machine that stalls under a short run makes it a refusal, rightly
                    run = await advisor.start_run("sleepy", "capacity", RunOptions(budget=16))
                    ended = await advisor.wait(run.run_id)
                    if isinstance(ended.capacity, Capacity):
                        break
                found = await advisor.recommendation("sleepy")
                bigger = await advisor.recommendation("sleepy", Question(demand_rps=100))

                assert isinstance(ended.capacity, Capacity), ended.capacity
                assert 0.3 * truth < ended.capacity.rps < 1.3 * truth
                assert found.capacity == ended.capacity
                assert found.replicas is not None
                assert bigger.replicas is not None
                assert bigger.replicas.recommended > found.replicas.recommended
                assert found.autoscaling is not None

        asyncio.run(scenario())


def _highest_rate(work: float, p95: float) -> float:
    """Of one worker with constant work, by Lindley's recursion over half a million requests."""
    rng = np.random.default_rng(1)
    number = np.arange(500_000)
    unit = np.cumsum(rng.exponential(1.0, number.size))

    def quantile(rate: float) -> float:
        arrival = unit / rate
        end = work * (number + 1) + np.maximum.accumulate(arrival - work * number)
        return float(np.quantile(end - arrival, 0.95))

    rates = np.linspace(0.1 / work, 0.95 / work, 60)
    return float(max(rate for rate in rates if quantile(rate) <= p95))


async def _seconds(advisor: Advisor, run_id: str, count: int) -> None:
    """Until so many seconds of the run were told."""
    async for event in advisor.watch(run_id):
        if event.kind is News.SECOND:
            count -= 1
        if count == 0:
            return
