from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from advisor.service import keeper, leadership
from advisor.service.keeper import Keeper
from advisor.service.leadership import Leadership
from advisor.service.threads import StoreThreads
from advisor.store import Owner, Store

ME = Owner.this_process()
RIVAL = replace(ME, owner="rival")  # alive: this very process, by another name


class Duty:
    """Counts."""

    def __init__(self) -> None:
        self.on = 0
        self.started = 0

    async def start(self) -> None:
        self.on += 1
        self.started += 1

    async def stop(self) -> None:
        self.on -= 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "HEARTBEAT", 0.05)
    monkeypatch.setattr(leadership, "RETRY", 0.05)


@pytest.fixture
def threads() -> Iterator[StoreThreads]:
    threads = StoreThreads(2)
    yield threads
    threads.close()


async def until(condition: object, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def nothing() -> None:
    """In place of a look for dead advisors."""


def test_one_of_two_leads_and_the_other_when_it_goes(store: Store, threads: StoreThreads) -> None:
    async def scenario() -> None:
        duties = Duty(), Duty()
        first = Leadership(store, threads, ME, (duties[0],), recover=nothing)
        second = Leadership(store, threads, RIVAL, (duties[1],), recover=nothing)
        await first.start()
        await second.start()
        assert (first.leads, second.leads) == (True, False)
        assert (duties[0].on, duties[1].on) == (1, 0)

        await first.stop()
        assert duties[0].on == 0
        await until(lambda: second.leads and duties[1].on == 1)
        await second.stop()
        assert duties[1].on == 0

    asyncio.run(scenario())


def test_a_leader_that_lost_its_lease_stops_its_duties(store: Store, threads: StoreThreads) -> None:
    async def scenario() -> None:
        duty = Duty()
        leader = Leadership(store, threads, ME, (duty,), recover=nothing)
        await leader.start()
        far_ahead = store.now() + 1000
        assert store.leases.take(leadership.NAME, RIVAL, now=far_ahead, seconds=1)
        await until(lambda: not leader.leads)
        await until(lambda: duty.on == 0)
        await leader.stop()

    asyncio.run(scenario())


def test_a_duty_that_cannot_start_leaves_the_lead_to_others(store: Store, threads: StoreThreads) -> None:
    class Broken(Duty):
        async def start(self) -> None:
            raise RuntimeError("no scheduler")

    async def scenario() -> None:
        duty = Duty()
        broken = Leadership(store, threads, ME, (Broken(),), recover=nothing)
        await broken.start()
        sound = Leadership(store, threads, RIVAL, (duty,), recover=nothing)
        await sound.start()
        await until(lambda: duty.on == 1)
        await broken.stop()
        await sound.stop()

    asyncio.run(scenario())


def test_a_kept_lease_outlives_its_length(
    store: Store, threads: StoreThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LEASE", 1.0)

    async def scenario() -> bool:
        lost: list[str] = []
        kept = Keeper(store, threads, ME, "run:heart", lost=lost.append)
        assert await kept.take()
        await asyncio.sleep(1.5)
        taken = store.leases.take("run:heart", RIVAL, now=store.now(), seconds=1)
        await kept.release()
        assert not lost
        return taken

    assert not asyncio.run(scenario())
    assert store.leases.holder("run:heart") is None


def test_what_is_asked_with_each_heartbeat(store: Store, threads: StoreThreads) -> None:
    async def scenario() -> int:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            beats += 1

        kept = Keeper(store, threads, ME, "run:heart", lost=print, each=beat)
        await kept.take()
        await until(lambda: beats >= 3)
        await kept.release()
        return beats

    assert asyncio.run(scenario()) >= 3


def test_a_heartbeat_whose_question_fails_keeps_the_lease(store: Store, threads: StoreThreads) -> None:
    async def scenario() -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            beats += 1
            if beats == 1:
                raise OperationalError("SELECT stop_asked", {}, Exception("database is locked"))

        kept = Keeper(store, threads, ME, "run:heart", lost=print, each=beat)
        await kept.take()
        await until(lambda: beats >= 3)
        await kept.release()

    asyncio.run(scenario())
