"""A team's own Locust users under our stages."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import numpy as np
import pytest

from advisor.domain import Arrivals, Outcome, Stage, StageResult
from advisor.errors import ConfigurationError, NotAllowed
from advisor.loadtest.client import Engine
from advisor.loadtest.protocol import Caps, SecondRecord, Setup
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
STAGE = Stage("users 10", Arrivals.USERS, 1.2, rate=50, count=10, drain=5)


def setup_for(server: Server, tmp_path, text: str, **more) -> Setup:
    file = tmp_path / "locustfile.py"
    file.write_text(text)
    return Setup(server.url, (), locustfile=str(file), caps=Caps(1000, 100, 60), **more)


def test_users_are_told_as_all_other_requests(server: Server, tmp_path) -> None:
    [result], records = run(setup_for(server, tmp_path, LOCUSTFILE), STAGE)
    log = result.log
    by_kind = [set(log.outcome[log.kind == kind].tolist()) for kind in range(3)]
    assert sorted(by_kind, key=min) == [{Outcome.OK}, {Outcome.SERVER_ERROR}, {Outcome.REJECTED}]
    # Ten users of ten requests a second each; a fifth of a second starts them.
    assert 50 < len(log) <= 130
    assert log.latency[log.ok].min() >= 0.02
    assert np.median(log.latency[log.ok]) < 0.2
    assert result.drained
    assert max(record.in_flight for record in records) == 10
    assert len(server.ask("/log")) == len(log)


def test_stages_of_users_follow_each_other(server: Server, tmp_path) -> None:
    stages = [dataclasses.replace(STAGE, seconds=0.8, count=count) for count in (2, 6)]
    text = LOCUSTFILE.replace("fixed_count = 5", "weight = 1")
    (few, many), _ = run(setup_for(server, tmp_path, text), *stages)
    assert len(many.log) > 1.5 * len(few.log) > 0


LISTENERS = """
from locust import FastHttpUser, LoadTestShape, constant, events, task

@events.init_command_line_parser.add_listener
def add(parser): parser.add_argument("--most-failures", type=float, default=0.01)

@events.test_start.add_listener
def start(environment, **_): environment.told = ["test_start"]

@events.test_stop.add_listener
def stop(environment, **_): environment.told.append("test_stop")

@events.quitting.add_listener
def objective(environment, **_):
    total = environment.stats.total
    assert environment.told == ["test_start", "test_stop"], environment.told
    if total.fail_ratio > environment.parsed_options.most_failures:
        environment.process_exit_code = total.num_requests

class Night(LoadTestShape):
    def tick(self): return 100, 100

class User(FastHttpUser):
    wait_time = constant(0.05)
    def on_start(self): self.client.get("/ok", name="login")
    @task
    def fail(self): self.client.get("/status/500", name="fail")
"""


def test_listeners_see_one_test_and_users_go_on_from_stage_to_stage(server: Server, tmp_path) -> None:
    async def go():
        items = []
        async with await Engine.started(setup_for(server, tmp_path, LISTENERS)) as engine:
            for count, drain in ((4, 0), (6, 5)):
                stage = dataclasses.replace(STAGE, seconds=0.7, rate=100, count=count, drain=drain)
                items += [item async for item in engine.run_stage(stage)]
        return engine, [item for item in items if isinstance(item, StageResult)]

    engine, results = asyncio.run(go())
    assert engine.kinds == ["GET login", "GET fail"]
    logs = [result.log for result in results]
    assert [int((log.kind == 0).sum()) for log in logs] == [4, 2]  # nobody logs in twice
    assert engine.exit_code == sum(map(len, logs)) == len(server.ask("/log"))
    assert len(logs[1]) > len(logs[0]) > 15
    assert ["Night" in warning for warning in engine.ready.warnings] == [True]


def test_a_locustfile_may_end_its_own_test(server: Server, tmp_path) -> None:
    text = (
        LOCUSTFILE
        + """
import gevent
@events.test_start.add_listener
def soon(environment, **_):
    gevent.spawn_later(0.5, environment.runner.quit)
"""
    )
    [result], _ = run(setup_for(server, tmp_path, text), dataclasses.replace(STAGE, seconds=20))
    assert result.end - result.start < 5
    assert len(result.log)


def test_a_users_own_work_is_not_the_servers_time(server: Server, tmp_path) -> None:
    text = LOCUSTFILE.replace("answer.failure", "__import__('time').sleep(0.3); answer.failure")
    [result], _ = run(setup_for(server, tmp_path, text), STAGE)
    bad = result.log.outcome == Outcome.SERVER_ERROR
    assert bad.sum() > 0
    assert np.median(result.log.latency[bad]) < 0.2


def test_an_abort_ends_users_in_the_middle_of_what_they_do(server: Server, tmp_path) -> None:
    async def go():
        text = LOCUSTFILE.replace("/sleep/20", "/sleep/20000")
        engine = await Engine.started(setup_for(server, tmp_path, text))
        begin = 0.0
        async for item in engine.run_stage(dataclasses.replace(STAGE, seconds=60, drain=30)):
            if isinstance(item, SecondRecord) and not begin:
                begin = time.monotonic()
                await engine.abort()
        await engine.close()
        return time.monotonic() - begin

    assert asyncio.run(go()) < 2


def test_users_do_not_exceed_the_caps(server: Server, tmp_path) -> None:
    setup = setup_for(server, tmp_path, LOCUSTFILE)
    with pytest.raises(NotAllowed, match="asks for 500 users, above the cap of 100"):
        run(setup, dataclasses.replace(STAGE, count=500))
    slow = dataclasses.replace(setup, caps=Caps(rate=20, in_flight=100, seconds=60))
    [result], _ = run(slow, dataclasses.replace(STAGE, seconds=20))
    assert result.end - result.start < 10


@pytest.mark.parametrize("path", ["/sleep/20", "/status/503"])  # of the FastHttpUser, of the HttpUser
def test_users_cannot_reach_other_hosts(server: Server, tmp_path, path: str) -> None:
    text = LOCUSTFILE.replace(f'"{path}"', '"http://192.0.2.1:80/"').replace("task(3)", "task(300)")
    [result], _ = run(setup_for(server, tmp_path, text), STAGE)
    assert (result.log.outcome == Outcome.CONNECTION).sum() > 20


def test_a_class_that_is_meant_for_another_host_is_refused(server: Server, tmp_path) -> None:
    text = LOCUSTFILE.replace("class Slow(HttpUser):", "class Slow(HttpUser):\n    host = 'http://192.0.2.1'")
    with pytest.raises(NotAllowed, match=r"user class Slow: host '192\.0\.2\.1'"):
        run(setup_for(server, tmp_path, text), STAGE)


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
