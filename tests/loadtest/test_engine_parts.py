"""The generator's parts that need no network: choice, ramp rule, statuses, bytes on the wire, alarm."""

from __future__ import annotations

import itertools
import socket
import time

import gevent
import numpy as np
import pytest

from advisor.domain import Outcome, RampStop
from advisor.errors import ConfigurationError, NotAllowed, TargetUnreachable
from advisor.loadtest.engine import wire
from advisor.loadtest.engine.alarm import Alarm
from advisor.loadtest.engine.pick import new_turns, picks
from advisor.loadtest.engine.ramp import RampJudge
from advisor.loadtest.engine.recorder import Columns, second_record
from advisor.loadtest.plan.probe import first_backlog
from advisor.loadtest.protocol import Choice, Connections, Kind, Prepared, Setup
from advisor.loadtest.safety import check_host
from advisor.loadtest.statuses import expected_range, outcome_of

POOL = tuple(Prepared(f"/{i}") for i in range(4))


def draw(kinds: tuple[Kind, ...], count: int, seed: int = 0) -> list[int]:
    return list(itertools.islice(picks(kinds, seed, new_turns(kinds)), count))


def test_kinds_are_drawn_by_weight_and_pools_evenly() -> None:
    kinds = (Kind("a", "GET", POOL, weight=3), Kind("b", "GET", POOL, weight=1))
    counts = np.bincount(draw(kinds, 40_000), minlength=8)
    assert counts[:4].sum() == pytest.approx(30_000, abs=400)
    assert counts[:4] == pytest.approx(np.full(4, 7500), abs=400)


def test_zipf_prefers_the_first_by_its_law() -> None:
    kinds = (Kind("a", "GET", POOL, choice=Choice.ZIPF, zipf=1.0),)
    counts = np.bincount(draw(kinds, 50_000))
    expected = 50_000 / np.arange(1, 5) / (1 + 1 / 2 + 1 / 3 + 1 / 4)
    assert counts == pytest.approx(expected, abs=600)


def test_sequential_pools_take_their_turn_among_others() -> None:
    kinds = (Kind("a", "GET", POOL, choice=Choice.SEQUENTIAL), Kind("b", "GET", POOL[:1]))
    mine = [i for i in draw(kinds, 100) if i < 4]
    assert mine == [i % 4 for i in range(len(mine))]


def test_a_ramp_ends_when_most_of_the_last_answers_are_slow() -> None:
    judge = RampJudge(RampStop(latency=0.1, window=5, slow_of=4))
    told = [judge.ended(x, 0.0, ok=True) for x in (0.2, 0.2, 0.05, 0.05, 0.2, 0.2, 0.2)]
    assert told == [None] * 7
    assert judge.ended(0.3, 0.0, ok=True) == "4 of the last 5 answers took longer than 0.1 s"


def test_a_ramp_ends_at_failures_and_at_too_many_in_flight() -> None:
    judge = RampJudge(RampStop(latency=1, failures=2, in_flight=10))
    assert judge.ended(0.1, 0.0, ok=False) is None
    assert judge.ended(0.1, 0.0, ok=False) == "2 requests were rejected or failed"
    assert judge.sent(10, 0.0) is None
    assert judge.sent(11, 0.0) == "more than 10 requests were in flight"


def test_a_ramp_ends_at_seconds_of_unanswered_work_where_the_plan_finds_it_in_the_log() -> None:
    """A worker of 1 s and arrivals 0.1 s apart: no answer tells the knee yet, what waits does."""
    stop = RampStop(latency=20.0, in_flight=1000, backlog=6.0)
    sent = np.arange(0.05, 30, 0.1)
    end = np.maximum.accumulate(sent) * 0 + 1.05 + np.arange(sent.size)
    judge, told = RampJudge(stop), {}
    for at, is_end in sorted([(t, True) for t in end] + [(t, False) for t in sent]):
        if is_end:
            assert judge.ended(1.0, at, ok=True) is None
        elif (reason := judge.sent(int((sent <= at).sum() - (end <= at).sum()), at)) is not None:
            told.setdefault(at, reason)
    begun = first_backlog(sent, end, stop)
    assert min(told) == begun == pytest.approx(3.55, abs=0.5)
    assert told[begun] == "32 requests were in flight, more than 6 s of work"
    assert first_backlog(sent, sent + 1.0, stop) is None  # ten at once are no backlog
    at_once = np.arange(0.05, 6, 0.01)
    assert first_backlog(at_once, at_once + 1.0, stop) is None  # nor are 100 before the first answer


@pytest.mark.parametrize(
    ("status", "expect", "outcome"),
    [
        (200, None, Outcome.OK),
        (304, None, Outcome.OK),
        (404, None, Outcome.CLIENT_ERROR),
        (429, None, Outcome.REJECTED),
        (503, None, Outcome.REJECTED),
        (500, None, Outcome.SERVER_ERROR),
        (429, "4xx", Outcome.OK),
        (503, "503", Outcome.OK),
        (200, "4xx", Outcome.ACCEPTED),
        (302, "200", Outcome.SERVER_ERROR),
        (500, "4xx", Outcome.SERVER_ERROR),
        (200, "503", Outcome.SERVER_ERROR),
        (400, "422", Outcome.CLIENT_ERROR),
    ],
)
def test_statuses(status: int, expect: str | None, outcome: Outcome) -> None:
    assert outcome_of(status, expected_range(expect)) is outcome


def test_the_bytes_of_a_request() -> None:
    pool = (Prepared("/p?x=1", b"{}", (("Content-Type", "application/json"), ("accept", "text/plain"))),)
    setup = Setup("http://h:81/base/", (Kind("k", "post", pool),), headers=(("X-Key", "1"),))
    [request] = wire.wires(setup)
    head, _, body = request.data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in rest)
    assert first == "POST /base/p?x=1 HTTP/1.1"
    assert body == b"{}"
    assert headers["Host"] == "h:81"
    assert headers["Content-Length"] == "2"
    assert headers["X-Key"] == "1"
    assert headers["accept"] == "text/plain"
    assert "Accept" not in headers
    assert "Connection" not in headers


def test_get_has_no_length_and_new_connections_say_close() -> None:
    setup = Setup("http://h", (Kind("k", "GET", POOL[:1]),), connections=Connections.NEW)
    data = wire.wires(setup)[0].data
    assert b"Content-Length" not in data
    assert b"Connection: close\r\n" in data


def test_no_request_is_smuggled_into_another() -> None:
    for value in ("1\r\nY: 2", "\u2603"):
        prepared = Prepared("/a", b"", (("X", value),))
        with pytest.raises(ValueError, match="line break"):
            wire.wires(Setup("http://h", (Kind("k", "GET", (prepared,)),)))
    path = Prepared("/a b\r\nX: y/ü?q=%20&r=[1]")
    first = wire.wires(Setup("http://h", (Kind("k", "GET", (path,)),)))[0].data.split(b"\r\n")[0]
    assert first == b"GET /a%20b%0D%0AX:%20y/%C3%BC?q=%20&r=[1] HTTP/1.1"


def test_credentials_of_the_url_are_sent() -> None:
    data = wire.wires(Setup("http://me:p%40ss@h:81", (Kind("k", "GET", POOL[:1]),)))[0].data
    assert b"Authorization: Basic bWU6cEBzcw==\r\n" in data
    assert b"Host: h:81\r\n" in data


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_name_of_two_addresses_is_loaded_where_somebody_listens(family, monkeypatch) -> None:
    """As `localhost` is on most machines: some servers listen on ::1 alone."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    monkeypatch.setattr(wire, "check_host", lambda *_: ["::1", "127.0.0.1"])
    with socket.create_server((host, 0), family=family) as server:
        setup = Setup(f"http://localhost:{server.getsockname()[1]}", ())
        found = wire.address(setup)
    assert (found.family, found.host) == (family, host)
    assert wire.address(setup).host == "127.0.0.1"  # nobody: the one to report as refused


def test_a_second_is_told_sorted_and_counted() -> None:
    columns = Columns()
    columns.add(10.5, 10.6, 10.9, Outcome.OK, 0)
    columns.add(10.1, 10.1, 10.7, Outcome.TIMEOUT, 1)
    columns.delays.extend([0.001, 0.003])
    record = second_record("s", columns, 10.0, (10.0, 11.0), 3, 2, 0.5)
    assert record.log.intended == pytest.approx([0.1, 0.5])
    assert record.counts == {"ok": 1, "timeout": 1}
    assert sum(record.histogram.values()) == 1
    assert record.dispatch_delay_p50 == pytest.approx(0.002)
    assert (record.start, record.end, record.in_flight, record.dropped) == (0.0, 1.0, 3, 2)


def test_the_alarm_wakes_on_time_and_when_rung() -> None:
    alarm = Alarm()
    late = []
    for _ in range(20):
        due = time.monotonic() + 0.0037
        alarm.sleep_until(due)
        late.append(time.monotonic() - due)
    assert min(late) >= 0
    assert min(late) < 0.0009  # libev's own timers would round 3.7 ms up to 4 ms and more
    gevent.spawn_later(0.02, alarm.ring)
    begin = time.monotonic()
    alarm.sleep_until(begin + 30)
    assert time.monotonic() - begin < 20
    alarm.sleep_until(0)  # the past: comes back at once
    alarm.close()


@pytest.mark.parametrize(
    ("url", "allowed", "found"),
    [
        ("http://127.0.0.1:8080/x", (), ["127.0.0.1"]),
        ("http://[::1]:8080", (), ["::1"]),
        ("https://model.example", ("model.example",), ["192.0.2.7"]),
        ("https://MODEL.example", ("model.example:443",), ["192.0.2.7"]),
        ("http://[2001:db8::1]:8080", ("[2001:db8::1]:8080",), ["2001:db8::1"]),
    ],
)
def test_permitted_hosts(url: str, allowed: tuple[str, ...], found: list[str]) -> None:
    assert check_host(url, allowed, resolve=lambda host, port: found) == found


def test_hosts_elsewhere_are_refused_also_when_one_address_is_loopback() -> None:
    with pytest.raises(NotAllowed, match=r"192\.0\.2\.7") as caught:
        check_host("http://model", resolve=lambda host, port: ["127.0.0.1", "192.0.2.7"])
    assert "--allow-host model" in str(caught.value.hint)
    with pytest.raises(NotAllowed):
        check_host("http://model:81", ("model:80",), resolve=lambda host, port: ["192.0.2.7"])


def test_urls_that_are_none() -> None:
    for url in ("ftp://x", "http://", "localhost:80", "http://h:99999"):
        with pytest.raises(ConfigurationError, match="is not a URL"):
            check_host(url, resolve=lambda host, port: ["127.0.0.1"])

    def unknown(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(TargetUnreachable, match="Name or service not known"):
        check_host("http://nowhere", resolve=unknown)
