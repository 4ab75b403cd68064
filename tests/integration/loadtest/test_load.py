"""What the generator promises of its load: times, caps, ramps, drains."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import numpy as np
import pytest

from advisor.domain import Arrivals, Outcome, RampStop, Stage, StageResult
from advisor.errors import ConfigurationError, NotAllowed, TargetUnreachable
from advisor.loadtest.client import Engine
from advisor.loadtest.preflight import preflight
from advisor.loadtest.protocol import Caps, Choice, Connections, Kind, Prepared, Setup
from tests.integration.loadtest.conftest import Server, run, setup_of

pytestmark = pytest.mark.integration


def test_a_poisson_stage_asks_for_its_rate_and_tells_every_request(server: Server) -> None:
    stage = Stage("p", Arrivals.POISSON, 3, rate=300, seed=4)
    [result], records = run(setup_of(server, "/ok"), stage)
    assert result.offered_rps == pytest.approx(300, rel=0.15)  # 900 arrivals: 4.5 standard deviations
    assert result.end - result.start == pytest.approx(3, abs=0.05)
    assert np.diff(result.log.intended).std() == pytest.approx(1 / 300, rel=0.25)
    assert len(server.ask("/log")) == len(result.log)
    assert [record.stage for record in records] == ["p"] * len(records)
    assert 3 <= len(records) <= 5
    assert all(record.cpu > 0 for record in records)


def test_the_same_seed_gives_the_same_load(server: Server) -> None:
    stages = [Stage("p", Arrivals.POISSON, 1, rate=100, seed=seed) for seed in (7, 7, 8)]
    (a, b, c), _ = run(setup_of(server, "/ok"), *stages)
    assert len(a.log) == len(b.log)
    assert np.allclose(a.log.intended - a.start, b.log.intended - b.start, atol=1e-6)
    assert not np.allclose(a.log.intended[:40] - a.start, c.log.intended[:40] - c.start, atol=1e-6)


def test_single_requests_never_overlap(server: Server) -> None:
    [result], _ = run(setup_of(server, "/sleep/10"), Stage("s", Arrivals.SINGLE, 0.8))
    log = result.log
    assert 20 < len(log) <= 80
    assert (log.sent[1:] >= log.end[:-1]).all()


def test_single_requests_keep_the_cap_and_give_way_to_a_rate_limit(server: Server) -> None:
    """A closed loop of a fast server is faster than any cap; one that is turned away slows down."""
    setup = setup_of(server, "/ok", caps=Caps(50, 10, 30))
    [capped], _ = run(setup, Stage("s", Arrivals.SINGLE, 1))
    assert 10 < len(capped.log) <= 51
    [turned_away], _ = run(setup_of(server, "/status/429"), Stage("s", Arrivals.SINGLE, 2))
    gaps = np.diff(turned_away.log.sent)
    assert gaps[-1] > 0.4
    assert (gaps[1:] > gaps[:-1]).mean() > 0.5


def test_a_volley_comes_at_once_and_what_exceeds_the_cap_is_dropped(server: Server) -> None:
    setup = setup_of(server, "/sleep/50", caps=Caps(100, 60, 30))
    [result], _ = run(setup, Stage("v", Arrivals.VOLLEY, 1, count=100))
    assert len(result.log) == 60
    assert result.dropped == 40
    assert np.ptp(result.log.intended) == 0
    assert result.log.ok.all()


class _OneByOne(BaseHTTPRequestHandler):
    """HTTP/1.0, a connection for each answer, as Python's own server speaks it."""

    def do_GET(self) -> None:
        time.sleep(0.01)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def _python_server(kind: type[HTTPServer]) -> Iterator[Setup]:
    server = kind(("127.0.0.1", 0), _OneByOne)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        kinds = (Kind("predict", "GET", (Prepared("/"),)),)
        yield Setup(f"http://127.0.0.1:{server.server_port}", kinds, caps=Caps(1000, 500, 60))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("connections", list(Connections))
@pytest.mark.parametrize(("kind", "fewest", "most"), [(ThreadingHTTPServer, 60, 60), (HTTPServer, 4, 12)])
def test_a_volley_waits_in_the_server_and_not_in_a_short_listen_queue(
    kind, fewest, most, connections
) -> None:
    """Six connections may wait: sent at once, most of sixty would be lost, and come again after a second."""
    with _python_server(kind) as setup:
        chosen = dataclasses.replace(setup, connections=connections)
        [result], _ = run(chosen, Stage("v", Arrivals.VOLLEY, 1, count=60, drain=20))
    assert fewest <= len(result.log) <= most
    assert result.log.ok.all()
    assert np.ptp(result.log.intended) == 0
    assert result.log.latency.max() < 1


def test_the_second_before_a_full_listen_queue_is_latency_and_not_the_servers_work() -> None:
    """The server knows nothing of a connection that it had no room for, until the kernel tries again."""
    with _python_server(HTTPServer) as setup:
        [result], _ = run(setup, Stage("c", Arrivals.CONSTANT, 0.3, rate=160, drain=20))
    lost = result.log.latency > 1
    assert 2 <= lost.sum() <= 30
    assert result.log.service.max() < 0.5
    assert np.allclose(result.log.sent[~lost], result.log.intended[~lost], atol=0.1)


def test_a_ramp_ends_past_the_knee_and_not_by_the_clock(server: Server) -> None:
    stop = RampStop(latency=0.05, window=15, slow_of=12)
    stage = Stage("r", Arrivals.RAMP, 30, rate=50, doubling=0.5, stop=stop)
    # The server stands still for 5 ms at each request: 200 req/s is all it has.
    [result], _ = run(setup_of(server, "/pause/5"), stage)
    assert result.end - result.start < 10
    assert result.drained
    assert result.log.latency[-12:].min() > 0.04


def test_a_ramp_ends_at_failures(server: Server) -> None:
    stage = Stage("r", Arrivals.RAMP, 20, rate=50, doubling=5, stop=RampStop(latency=9, failures=6))
    [result], _ = run(setup_of(server, "/status/503"), stage)
    assert 6 <= len(result.log) < 20


def test_what_is_not_answered_within_the_drain_is_cancelled_and_told(server: Server) -> None:
    stages = (
        Stage("v", Arrivals.VOLLEY, 1, count=10, drain=0.3),
        Stage("next", Arrivals.SINGLE, 1, count=3),
    )
    (result, after), _ = run(setup_of(server, "/sleep/3000", "/ok"), *stages)
    cancelled = result.log.outcome == Outcome.CANCELLED
    assert len(result.log) == 10
    assert not result.drained
    assert cancelled.sum() == (result.log.kind == 0).sum() > 0
    assert len(after.log) >= 1


def test_replay_follows_its_curve(server: Server) -> None:
    curve = ((0.0, 0.0), (1.0, 400.0), (2.0, 0.0))
    [result], _ = run(setup_of(server, "/ok"), Stage("c", Arrivals.REPLAY, 2, curve=curve))
    offsets = result.log.intended - result.start
    assert len(offsets) == pytest.approx(400, rel=0.25)
    assert ((offsets > 0.5) & (offsets < 1.5)).mean() == pytest.approx(0.75, abs=0.1)


def test_a_stall_is_charged_to_every_request_that_was_due_in_it(server: Server) -> None:
    """Coordinated omission: 200 req/s, and a server that stands still for 2 s of 10 s.

    A request due t seconds into the stall waits 2 - t seconds, so a fifth of all wait up to 2 s, evenly:
    the true p95 is 1.5 s. A closed loop sends nothing meanwhile, and would report milliseconds.
    """
    rare = Kind("stall", "GET", (Prepared("/pause/2000"),), weight=1)
    often = Kind("ok", "GET", (Prepared("/ok"),), weight=1e-9)
    quiet = Kind("ok", "GET", (Prepared("/ok"),))
    setup = setup_of(server, kinds=(quiet,), timeout=20)
    stalled = setup_of(server, kinds=(rare, often))

    async def both():
        async with await Engine.started(setup) as load, await Engine.started(stalled) as stall:

            async def once():
                await asyncio.sleep(4)
                async for _ in stall.run_stage(Stage("stall", Arrivals.SINGLE, 5, count=1)):
                    pass

            task = asyncio.create_task(once())
            stage = Stage("load", Arrivals.CONSTANT, 10, rate=200)
            results = [item async for item in load.run_stage(stage) if isinstance(item, StageResult)]
            await task
            return results[0]

    result = asyncio.run(both())
    assert len(result.log) == 2000
    assert result.log.ok.all()
    assert np.quantile(result.log.latency, 0.95) == pytest.approx(1.5, abs=0.15)
    assert np.median(result.log.latency) < 0.1


def test_caps_hold_inside_the_generator(server: Server) -> None:
    setup = setup_of(server, "/ok", caps=Caps(rate=100, in_flight=10, seconds=1.5))
    with pytest.raises(NotAllowed, match="asks for 500 req/s, above the cap of 100"):
        run(setup, Stage("fast", Arrivals.POISSON, 1, rate=500))
    results, _ = run(setup, *(Stage(f"s{i}", Arrivals.CONSTANT, 1, rate=50) for i in range(3)))
    assert [round(len(r.log), -1) for r in results][:1] == [50]
    assert sum(len(r.log) for r in results) <= 80
    assert results[2].end - results[2].start < 0.1
    [ramp], _ = run(setup, Stage("ramp", Arrivals.RAMP, 1.4, rate=50, doubling=0.01))
    assert ramp.offered_rps == pytest.approx(100, rel=0.4)


def test_sequential_pools_are_sent_in_order_over_stages(server: Server) -> None:
    pool = tuple(Prepared(f"/ok/{i}") for i in range(5))
    setup = setup_of(server, kinds=(Kind("rows", "GET", pool, choice=Choice.SEQUENTIAL),))
    run(setup, *(Stage(n, Arrivals.SINGLE, 2, count=4) for n in "ab"))
    assert [row[0] for row in server.ask("/log")] == [f"/ok/{i % 5}" for i in range(8)]


def test_wrong_targets_are_refused_before_any_load(server: Server) -> None:
    stage = Stage("s", Arrivals.SINGLE, 1, count=1)
    setup = setup_of(server, "/ok")
    with pytest.raises(NotAllowed, match="not this machine"):
        run(dataclasses.replace(setup, url="http://192.0.2.1:80"), stage)
    with pytest.raises(TargetUnreachable, match="cannot find host"):
        run(dataclasses.replace(setup, url="http://no-such-host.invalid"), stage)
    with pytest.raises(ConfigurationError, match="open files"):
        run(dataclasses.replace(setup, caps=Caps(in_flight=2**31)), stage)


def test_https_with_a_certificate_of_its_own(tmp_path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 {subject}"
    subprocess.run(command.split(), check=True, capture_output=True)
    server = Server(str(certificate), str(key))
    try:
        stage = Stage("s", Arrivals.CONSTANT, 0.5, rate=100)
        [trusting], _ = run(setup_of(server, "/ok", verify_tls=False), stage)
        [strict], _ = run(setup_of(server, "/ok"), stage)
        [known], _ = run(setup_of(server, "/ok", ca_file=str(certificate)), stage)
        [closing], _ = run(setup_of(server, "/close", verify_tls=False), stage)
        with pytest.raises(TargetUnreachable, match="not trusted: self-signed certificate") as untrusted:
            asyncio.run(preflight(setup_of(server, "/ok")))
        asyncio.run(preflight(setup_of(server, "/ok", verify_tls=False)))
    finally:
        server.stop()
    assert trusting.log.ok.all()
    assert known.log.ok.all()
    assert set(strict.log.outcome.tolist()) == {Outcome.CONNECTION}
    assert closing.log.ok.all()
    assert "--insecure" in (untrusted.value.hint or "")


def test_https_to_a_plain_server_says_so(server: Server) -> None:
    setup = setup_of(server, "/ok", connect_timeout=1.0)
    with pytest.raises(TargetUnreachable) as error:
        asyncio.run(preflight(dataclasses.replace(setup, url=server.url.replace("http:", "https:"))))
    assert "write http://" in (error.value.hint or "")
