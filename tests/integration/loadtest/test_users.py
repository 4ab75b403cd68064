"""A team's own Locust users under our stages."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from advisor.domain import Arrivals, Outcome, Stage
from advisor.errors import ConfigurationError, NotAllowed
from advisor.loadtest.protocol import Caps, Setup
from tests.integration.loadtest.conftest import Server, run

pytestmark = pytest.mark.integration

LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, constant_throughput, events, task

seen = []

@events.request.add_listener
def listen(name, **_):
    seen.append(name)

@events.test_stop.add_listener
def stopped(**_):
    print("the listener saw", len(seen))

class Fast(FastHttpUser):
    fixed_count = 5
    wait_time = constant_throughput(10)
    @task(3)
    def ok(self):
        self.client.get("/sleep/20", name="ok")
    @task
    def bad(self):
        with self.client.get("/ok", name="checked", catch_response=True) as answer:
            answer.failure("not what we wanted")

class Slow(HttpUser):
    fixed_count = 5
    wait_time = constant_throughput(10)
    @task
    def rejected(self):
        self.client.get("/status/503", name="rejected")
"""
STAGE = Stage("users 10", Arrivals.USERS, 2, rate=50, count=10, drain=5)


def setup_for(server: Server, tmp_path, text: str, **more) -> Setup:
    file = tmp_path / "locustfile.py"
    file.write_text(text)
    return Setup(server.url, (), locustfile=str(file), caps=Caps(1000, 100, 60), **more)


def test_users_are_told_as_all_other_requests(server: Server, tmp_path) -> None:
    [result], records = run(setup_for(server, tmp_path, LOCUSTFILE), STAGE)
    log = result.log
    by_kind = [set(log.outcome[log.kind == kind].tolist()) for kind in range(3)]
    assert sorted(by_kind, key=min) == [{Outcome.OK}, {Outcome.SERVER_ERROR}, {Outcome.REJECTED}]
    # Ten users of ten requests a second each; the first second starts them.
    assert 80 < len(log) <= 220
    assert log.latency[log.ok].min() >= 0.02
    assert np.median(log.latency[log.ok]) < 0.2
    assert result.drained
    assert max(record.in_flight for record in records) == 10
    assert len(server.ask("/log")) == len(log)


def test_stages_of_users_follow_each_other(server: Server, tmp_path) -> None:
    stages = [dataclasses.replace(STAGE, seconds=1.5, count=count) for count in (2, 6)]
    text = LOCUSTFILE.replace("fixed_count = 5", "weight = 1")
    (few, many), _ = run(setup_for(server, tmp_path, text), *stages)
    assert len(many.log) > 1.5 * len(few.log) > 0


def test_users_do_not_exceed_the_caps(server: Server, tmp_path) -> None:
    setup = setup_for(server, tmp_path, LOCUSTFILE)
    with pytest.raises(NotAllowed, match="asks for 500 users, above the cap of 100"):
        run(setup, dataclasses.replace(STAGE, count=500))
    slow = dataclasses.replace(setup, caps=Caps(rate=20, in_flight=100, seconds=60))
    [result], _ = run(slow, dataclasses.replace(STAGE, seconds=20))
    assert result.end - result.start < 10


def test_users_cannot_reach_other_hosts(server: Server, tmp_path) -> None:
    text = LOCUSTFILE.replace('"/sleep/20"', '"http://192.0.2.1:80/"').replace("task(3)", "task(300)")
    [result], _ = run(setup_for(server, tmp_path, text), STAGE)
    assert (result.log.outcome == Outcome.CONNECTION).sum() > 20
    assert not result.log.ok.any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_that_name\n", r"locustfile\.py:1: ModuleNotFoundError"),
        ("x = 1\ny = (\n", r"locustfile\.py:2: SyntaxError"),
        ("x = 1\n", "no user class in it"),
    ],
)
def test_mistakes_in_a_locustfile_name_file_and_line(server: Server, tmp_path, text, words) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run(setup_for(server, tmp_path, text), STAGE)


def test_only_users_run_a_locustfile(server: Server, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="is of kind 'poisson'"):
        run(setup_for(server, tmp_path, LOCUSTFILE), Stage("p", Arrivals.POISSON, 1, rate=10))
    with pytest.raises(ConfigurationError, match="no such file"):
        run(Setup(server.url, (), locustfile=str(tmp_path / "gone.py")), STAGE)
