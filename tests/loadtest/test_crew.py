"""Rules of several generators: who does what, what a worker permits, what the verdict says of them."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import re
import time

import pytest

from advisor.domain import Arrivals, Share, Slo, Stage, StageResult
from advisor.errors import ConfigurationError, EngineFailed, NotAllowed
from advisor.loadtest import crew
from advisor.loadtest.client import Engine
from advisor.loadtest.crew import Crew, Local, tasks_of
from advisor.loadtest.hub import key_pair, secret_of
from advisor.loadtest.protocol import (
    Caps,
    Kind,
    Message,
    Prepared,
    Ready,
    SecondRecord,
    Setup,
    StageEnd,
    encode,
)
from advisor.loadtest.verdict import judge
from advisor.loadtest.worker import Limits, check_stage, restricted
from tests.loadtest.build import log_of, result_of

CAPS = Caps(rate=1000, in_flight=300, seconds=60)
LIMITS = Limits(rate=100, in_flight=100)


def test_one_stream_is_for_one_and_users_are_shared_out() -> None:
    names = ["a", "b", "c"]
    single = tasks_of(Stage("s", Arrivals.SINGLE, 1, count=5), names)
    assert [(name, part) for name, _, part in single] == [("a", (0, 1))]
    users = tasks_of(Stage("u", Arrivals.USERS, 1, count=8, rate=4), names)
    assert [stage.count for _, stage, _ in users] == [3, 3, 2]
    assert sum(stage.rate for _, stage, _ in users) == pytest.approx(4)
    assert [name for name, *_ in tasks_of(Stage("u", Arrivals.USERS, 1, count=2, rate=4), names)] == [
        "a",
        "b",
    ]
    poisson = tasks_of(Stage("p", Arrivals.POISSON, 1, rate=9), names)
    assert [part for *_, part in poisson] == [(0, 3), (1, 3), (2, 3)]


class Scripted:
    """A generator that says what it is told to, as (seconds to wait, message); None ends it."""

    def __init__(self, *script: tuple[float, Message | None]) -> None:
        self._script: list[tuple[float, Message | None]] = [*script]
        self.monotonic = time.monotonic()
        self._ready = False
        self.alive, self.tail = True, ""

    async def start(self) -> None:
        pass

    async def send(self, line: bytes) -> None:
        pass

    async def receive(self) -> bytes:
        if not self._ready:
            self._ready = True
            return encode(Ready(0.0, self.monotonic, 1, "here"))
        wait, message = self._script.pop(0)
        await asyncio.sleep(wait)
        return b"" if message is None else encode(message)

    async def last_words(self) -> str:
        return "it was ended"

    async def close(self) -> None:
        pass

    async def kill(self) -> None:
        pass


def second(start: float, requests: int, end: float | None = None) -> SecondRecord:
    log = log_of([start] * requests, [0.1] * requests)
    return SecondRecord(
        "load 1", start, end or start + 0.1, {"ok": requests}, {5: requests}, log, requests, 1, 0.25
    )


def end_of(seconds: float) -> StageEnd:
    return StageEnd("load 1", 0.0, seconds, 1, True, 0.25, "all were sent")


def through(*members: Local) -> tuple[list[SecondRecord], StageResult]:
    async def go():
        async def gather():
            return members

        crew = Crew(gather)
        kinds = (Kind("k", "GET", (Prepared("/"),)),)
        await crew.start(Setup("http://127.0.0.1:1", kinds, caps=CAPS))
        items = [item async for item in crew.run_stage(Stage("load 1", Arrivals.POISSON, 0.2, rate=5))]
        await crew.close()
        return items[:-1], items[-1]

    return asyncio.run(go())


def test_seconds_become_one_and_clocks_agree(monkeypatch) -> None:
    monkeypatch.setattr(crew, "_PATIENCE", 0.2)
    a = Scripted((0.0, second(0.0, 2)), (0.0, second(0.1, 1)), (0.0, end_of(0.2)))
    b = Scripted((0.1, second(1000.0, 3)), (0.1, end_of(1000.2)))  # its second 0 was long before
    b.monotonic -= 1000.0
    seconds, result = through(Local("a", Engine(a)), Local("b", Engine(b)))
    assert [len(s.log) for s in seconds] == [6]
    assert sum(s.counts["ok"] for s in seconds) == len(result.log) == 6
    assert result.dropped == 3
    assert {share.name: share.requests for share in result.shares} == {"a": 3, "b": 3}
    assert abs(result.log.intended).max() < 0.3  # both began just now, whatever their own clocks say


def test_one_that_tells_late_is_noted_and_holds_the_others_up_no_longer_than_patience(monkeypatch) -> None:
    monkeypatch.setattr(crew, "_PATIENCE", 0.1)
    monkeypatch.setattr(crew, "_LAG", 0.3)
    slow = Local("slow", Engine(Scripted((0.6, second(-1.0, 3)), (0.0, end_of(0.2)))))
    quick = Local("quick", Engine(Scripted((0.0, second(-1.0, 2)), (0.0, end_of(0.2)))))
    seconds, result = through(slow, quick)
    assert [len(s.log) for s in seconds] == [2, 3]
    assert [share.lag > 0.5 for share in result.shares] == [True, False]


def test_one_that_is_lost_leaves_what_it_told_and_the_last_one_ends_the_stage() -> None:
    lost = Scripted((0.0, second(0.0, 3)), (0.1, None))
    _, result = through(Local("lost", Engine(lost)), Local("b", Engine(Scripted((0.3, end_of(0.2))))))
    assert len(result.log) == 3
    assert not result.drained
    assert result.shares[0].lost == "0 s into the stage: it was ended"
    assert result.shares[1].lost is None
    with pytest.raises(EngineFailed, match="all load generators are lost: before its first second"):
        through(Local("lost", Engine(Scripted((0.0, None)))))


@pytest.mark.parametrize(
    ("stage", "of", "words"),
    [
        (Stage("p", Arrivals.POISSON, 1, rate=300), 3, None),
        (Stage("p", Arrivals.POISSON, 1, rate=301), 3, "asks for 100.333 req/s of it, it gives at most 100"),
        (Stage("r", Arrivals.RAMP, 1, rate=5, doubling=1), 3, "333.333 req/s"),  # it may reach the run's cap
        (Stage("c", Arrivals.REPLAY, 1, curve=((0, 10), (1, 400))), 3, "133.333 req/s"),
        (Stage("v", Arrivals.VOLLEY, 1, count=600), 3, "200 requests at once"),
        (Stage("u", Arrivals.USERS, 1, count=101), 1, "101 users"),
        (Stage("p", Arrivals.POISSON, 1, rate=10), 2, "150 requests in flight"),
    ],
)
def test_a_worker_permits_its_share_within_its_limits(stage: Stage, of: int, words: str | None) -> None:
    if words is None:
        check_stage(stage, of, CAPS, LIMITS)
        return
    with pytest.raises(NotAllowed, match=words):
        check_stage(stage, of, CAPS, LIMITS)


def test_hosts_and_locustfile_are_the_workers_own(tmp_path) -> None:
    asked = Setup("http://model.example", (), allowed_hosts=("model.example",), caps=CAPS)
    assert restricted(asked, LIMITS).allowed_hosts == ()
    file = tmp_path / "users.py"
    file.write_text("one")
    users = dataclasses.replace(
        asked, locustfile="/elsewhere.py", locustfile_sha256=hashlib.sha256(b"one").hexdigest()
    )
    with pytest.raises(ConfigurationError, match="the worker has none"):
        restricted(users, LIMITS)
    own = dataclasses.replace(LIMITS, locustfile=file)
    assert restricted(users, own).locustfile == str(file)
    assert restricted(users, own).caps.rate == 100
    file.write_text("two")
    with pytest.raises(ConfigurationError, match="is not the locustfile of the run"):
        restricted(users, own)


def test_both_ends_derive_the_same_keys_from_a_secret_that_cannot_be_guessed() -> None:
    assert key_pair("a secret of some length") == key_pair("a secret of some length")
    assert key_pair("a secret of some length") != key_pair("a secret of same length")
    with pytest.raises(ConfigurationError, match="has 5 characters"):
        key_pair("short")
    with pytest.raises(ConfigurationError, match="TOKEN is not set"):
        secret_of({}, "TOKEN")


@pytest.mark.parametrize(
    ("share", "status", "words"),
    [
        (Share("b", 50), "valid", None),
        (
            Share("b", 20, lost="3 s into the stage: its connection broke"),
            "invalid",
            "'b' was lost in 'load 1'",
        ),
        (Share("b", 50, lag=3.2), "inconclusive", "'b' lagged in 'load 1': .* up to 3.2 s late"),
        (Share("b", 50, late=True), "valid", "'b' joined late"),
    ],
)
def test_the_verdict_names_who_did_not_do_its_share(share: Share, status: str, words: str | None) -> None:
    log = log_of([0.1 * i for i in range(100)], [0.01] * 100)
    result = result_of(log, 10, 10, arrivals=Arrivals.RAMP, shares=(Share("a", 50), share))
    verdict = judge([result], Slo(()))
    assert verdict.status == status
    assert len(verdict.reasons) == (words is not None)
    assert re.search(words or "", "".join(verdict.reasons))
