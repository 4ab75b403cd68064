"""Runs are marked in Grafana by a duty of the leader; Grafana away, slow or closed to us disturbs nothing."""

import asyncio
from dataclasses import replace

import pytest

from advisor.domain import Run, RunStatus, Verdict, VerdictStatus
from advisor.outputs.grafana import Grafana
from advisor.service import annotator as annotator_module
from advisor.service.annotator import RECENT, Annotator
from advisor.service.threads import StoreThreads
from advisor.settings import GrafanaSettings
from tests.outputs.grafana_server import TOKEN, fake_grafana
from tests.scaling.advice import NOW, SLO


@pytest.fixture
def fake():
    with fake_grafana() as server:
        yield server


@pytest.fixture
def rounds(fake, store):
    """Rounds of one annotator, as many as asked."""
    threads = StoreThreads(1)
    settings = GrafanaSettings(url=fake.url)

    def made(token=TOKEN):
        annotator = Annotator(settings, token, store, threads, clock=lambda: NOW + 60)
        grafana = Grafana(fake.url, token)
        return lambda: asyncio.run(annotator.round(grafana))

    yield made
    threads.close()


def add(store, run_id, started=NOW, status=RunStatus.RUNNING):
    run = Run(run_id, "heart", "soak", SLO, started, status)
    store.runs.add(run)
    return run


def end(store, run):
    done = replace(run, status=RunStatus.DONE, verdict=Verdict(VerdictStatus.VALID), ended_at=NOW + 50)
    assert store.runs.finish(done)


def tags(fake):
    return {found["tags"][3]: found["tags"][4:] for found in fake.annotations.values()}


def test_a_run_is_marked_at_its_start_and_at_its_end(fake, store, rounds):
    go = rounds()
    run = add(store, "a")
    assert go()
    assert tags(fake) == {"run:a": ["running"]}
    end(store, run)
    assert go()
    assert tags(fake) == {"run:a": ["done", "valid"]}
    fake.written.clear()
    assert go()
    assert fake.written == []


def test_what_happened_while_grafana_was_away_is_marked_later(fake, store, rounds, caplog):
    go = rounds()
    fake.fail = (502, "bad gateway")
    first = add(store, "a")
    assert not go()
    end(store, first)
    add(store, "b")
    assert not go()
    assert len([record for record in caplog.records if "will be later" in record.message]) == 1
    fake.fail = None
    assert go()
    assert tags(fake) == {"run:a": ["done", "valid"], "run:b": ["running"]}


def test_a_long_run_that_newer_ones_overtook_gets_its_end(fake, store, rounds):
    go = rounds()
    long = add(store, "long")
    assert go()
    for i in range(RECENT + 1):
        add(store, f"s{i}", started=NOW + 1 + i, status=RunStatus.DONE)
    end(store, long)
    assert go()
    assert tags(fake)["run:long"] == ["done", "valid"]


def test_all_that_waited_is_marked_not_only_the_newest(fake, store, rounds):
    go = rounds()
    fake.fail = (502, "bad gateway")
    for i in range(RECENT + 5):
        add(store, f"s{i}", started=NOW + i, status=RunStatus.DONE)
    assert not go()
    fake.fail = None
    assert go()
    assert len(fake.annotations) == RECENT + 5


def test_another_advisor_goes_on_without_marking_twice(fake, store, rounds):
    run = add(store, "a")
    assert rounds()()
    end(store, run)
    assert rounds()()
    assert tags(fake) == {"run:a": ["done", "valid"]}
    assert len(fake.annotations) == 1


def test_what_is_a_week_old_is_let_go(fake, store, rounds):
    add(store, "old", started=NOW - 8 * 86400, status=RunStatus.DONE)
    assert rounds()()
    assert fake.annotations == {}


def test_a_wrong_token_is_said_once_and_tried_again(fake, store, rounds, caplog):
    add(store, "a")
    go = rounds("wrong")
    assert not go()
    assert not go()
    (said,) = [record.message for record in caplog.records if "401" in record.message]
    assert "service account" in said


def test_without_a_token_it_says_which_variable_and_rests(store, caplog):
    async def life():
        annotator = Annotator(GrafanaSettings(url="http://127.0.0.1:9"), None, store, StoreThreads(1))
        await annotator.start()
        await annotator.stop()

    asyncio.run(life())
    assert "GRAFANA_TOKEN" in caplog.text


def test_it_starts_survives_odd_answers_marks_and_stops(fake, store, monkeypatch):
    add(store, "a")
    fake.fail = (200, '{"odd": "answer"}')
    monkeypatch.setattr(annotator_module, "PAUSE", 0.01)

    async def life():
        threads = StoreThreads(1)
        annotator = Annotator(GrafanaSettings(url=fake.url), TOKEN, store, threads, clock=lambda: NOW)
        await annotator.start()
        await asyncio.sleep(0.2)
        fake.fail = None
        async with asyncio.timeout(10):
            while not fake.annotations:  # noqa: ASYNC110 - it is a thread that fills them
                await asyncio.sleep(0.01)
        await annotator.stop()
        threads.close()

    asyncio.run(life())
    assert tags(fake) == {"run:a": ["running"]}
