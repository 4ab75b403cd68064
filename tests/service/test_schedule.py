from __future__ import annotations

import asyncio
import datetime as dt

from advisor.errors import TargetBusy
from advisor.service.schedule import Scheduler, next_runs
from advisor.service.threads import StoreThreads
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import Store

# A Wednesday.
NOW = dt.datetime(2025, 6, 4, 12, 0, tzinfo=dt.UTC)


def a_target(name: str, **schedule: str) -> TargetSettings:
    return TargetSettings.model_validate(
        {
            "name": name,
            "url": "http://127.0.0.1:1",
            "requests": [{}],
            "slo": {"latency": {"p95": "100ms"}},
            "schedule": schedule,
        }
    )


def test_the_next_runs_come_soonest_first() -> None:
    settings = AdvisorSettings(
        targets=[
            a_target("heart", capacity="0 3 * * mon", soak="0 1 * * *"),
            a_target("lung", spike="30 12 * * *"),
        ]
    )

    found = next_runs(settings, NOW)

    assert [(run.target, run.scenario, run.at - NOW.timestamp()) for run in found] == [
        ("lung", "spike", 30 * 60),
        ("heart", "soak", 13 * 3600),
        ("heart", "capacity", 4 * 86400 + 15 * 3600),
    ]
    assert [run.scenario for run in next_runs(settings, NOW, "lung")] == ["spike"]


def test_a_date_that_never_comes_is_left_out() -> None:
    settings = AdvisorSettings(targets=[a_target("heart", soak="0 1 30 2 *")])

    assert next_runs(settings, NOW) == ()


class _Busy:
    """Stands for a coordinator whose target is held; the real one is in the integration tests."""

    async def start(self, target: str, scenario: str, details: object = None) -> None:
        raise TargetBusy(f"target '{target}' is busy")


def test_a_start_that_may_not_be_is_told_in_the_diary(store: Store) -> None:
    threads = StoreThreads(1)
    scheduler = Scheduler(
        AdvisorSettings(targets=[a_target("heart")]),
        _Busy(),  # type: ignore[arg-type]
        store,
        threads,
    )

    asyncio.run(scheduler.start_run("heart", "soak"))

    (event,) = store.events.list(target="heart")
    assert event.kind == "skipped"
    assert event.message == "the scheduled soak run was left out: target 'heart' is busy"
    threads.close()


def test_the_schedule_is_what_the_configuration_says_and_ends_when_told(store: Store) -> None:
    threads = StoreThreads(1)
    settings = AdvisorSettings(targets=[a_target("heart", soak="0 1 * * *", spike="0 4 * * *")])
    scheduler = Scheduler(settings, _Busy(), store, threads)  # type: ignore[arg-type]

    async def scenario() -> list[tuple[str, bool]]:
        await scheduler.start()
        assert scheduler._scheduler is not None
        jobs = [(job.id, job.coalesce) for job in scheduler._scheduler.get_jobs()]
        await scheduler.stop()
        return jobs

    assert sorted(asyncio.run(scenario())) == [("heart soak", True), ("heart spike", True)]
    threads.close()
