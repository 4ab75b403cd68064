"""Servers that are away, slow, or die; clients that leave; each counted as what it was."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from exporters import names
from tests.exporters.proxy.wire import PATIENCE, Wire, answer, echo_forever, proxied, wait_until

GET = b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello"


def ignore(wire: Wire) -> None:
    """Reads, never answers."""
    wire.rest()


def test_no_server_is_502_at_once_and_the_connection_stays() -> None:
    with proxied(echo_forever) as (proxy, server):
        server.stop()
        wire = proxy.client()
        for request in (GET, POST, b"HEAD / HTTP/1.1\r\nHost: m\r\n\r\n"):
            wire.send(request)
            head = wire.head()
            assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert b"X-Exporter-Reason: upstream-refused\r\n" in head
            if not request.startswith(b"HEAD"):
                assert b"refuses" in wire.until(b"\n")
        proxy.wait_outcomes(server_error=3)
        assert proxy.failures() == {"upstream-refused": 3}


def test_a_server_that_comes_back_is_used_again() -> None:
    with proxied(echo_forever) as (proxy, server):
        wire = proxy.client()
        assert wire.send(GET).message()[1] == b"hello"
        server.stop()
        wait_until(lambda: proxy.proxy.pool.idle == 0, "the dead connection is forgotten")
        assert wire.send(GET).message()[0].startswith(b"HTTP/1.1 502 ")
        server.listen(server.port)
        assert wire.send(GET).message()[1] == b"hello"
        proxy.wait_outcomes(ok=2, server_error=1)


def test_a_server_that_hangs_up_without_an_answer_is_502() -> None:
    def hang_up(wire: Wire) -> None:
        wire.head()

    with proxied(hang_up) as (proxy, server):
        for request in (GET, POST):
            head, _ = proxy.client().send(request).message()
            assert b"X-Exporter-Reason: upstream-closed\r\n" in head
        assert server.connections == 2, "a fresh connection that dies is not tried again"
        proxy.wait_outcomes(server_error=2)


def dies_on_reuse(wire: Wire) -> None:
    """Answers once; closes when it is asked again, as a server does whose keep-alive has just ended."""
    wire.message()
    wire.send(answer(b"first"))
    wire.head()
    wire.reset()


def test_a_reused_connection_that_dies_is_retried_once_where_that_is_safe() -> None:
    with proxied(dies_on_reuse, echo_forever) as (proxy, server):
        wire = proxy.client()
        assert wire.send(GET).message()[1] == b"first"
        assert wire.send(GET).message()[1] == b"hello"
        assert server.connections == 2
        assert proxy.failures() == {"retried": 1}
        proxy.wait_outcomes(ok=2)


def test_a_post_may_have_been_executed_and_is_not_retried() -> None:
    with proxied(dies_on_reuse, echo_forever) as (proxy, server):
        wire = proxy.client()
        assert wire.send(POST).message()[1] == b"first"
        assert b"X-Exporter-Reason: upstream-closed\r\n" in wire.send(POST).message()[0]
        assert server.connections == 1
        proxy.wait_outcomes(ok=1, server_error=1)


def test_a_post_whose_body_was_not_sent_is_retried() -> None:
    with proxied(dies_on_reuse, echo_forever) as (proxy, server):
        wire = proxy.client()
        assert wire.send(POST).message()[1] == b"first"
        wire.send(POST[:-5])
        wait_until(lambda: server.connections == 2, "the second connection")
        assert wire.send(b"hello").message()[1] == b"hello"
        proxy.wait_outcomes(ok=2)


def test_a_retry_is_made_once() -> None:
    with proxied(dies_on_reuse, lambda wire: wire.reset()) as (proxy, server):
        wire = proxy.client()
        assert wire.send(GET).message()[1] == b"first"
        assert wire.send(GET).message()[0].startswith(b"HTTP/1.1 502 ")
        assert server.connections == 2


@pytest.mark.parametrize("head", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(head: bytes, how: str) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n4\r\npart")
        if how == "reset":
            seen.wait(PATIENCE)
            wire.reset()

    seen = threading.Event()
    with proxied(script) as (proxy, _):
        wire = proxy.client().send(GET)
        assert wire.until(b"part").endswith(b"part")
        seen.set()
        assert wire.rest() == b"", "no more bytes: the client sees that the answer is not whole"
        proxy.wait_outcomes(server_error=1)


def test_an_answer_until_close_that_is_reset_is_an_error() -> None:
    seen = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        seen.wait(PATIENCE)
        wire.reset()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(GET)
        wire.until(b"part")
        seen.set()
        wire.rest()
        proxy.wait_outcomes(server_error=1)


def test_a_server_that_does_not_answer_in_time_is_504() -> None:
    with proxied(ignore, limits={"answer_seconds": 0.4}) as (proxy, _):
        wire = proxy.client().send(POST)
        head, body = wire.message()
        assert head.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert b"X-Exporter-Reason: answer-timeout\r\n" in head
        assert b"in time" in body
        proxy.wait_outcomes(timeout=1)


def test_a_server_that_stops_within_its_answer_is_cut_off() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        wire.rest()

    with proxied(script, limits={"answer_seconds": 0.4}) as (proxy, _):
        assert proxy.client().send(GET).rest().endswith(b"half")
        proxy.wait_outcomes(timeout=1)


def test_a_slow_stream_that_keeps_coming_is_not_a_timeout() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            pause.wait(0.15)
            wire.send(b"x")

    pause = threading.Event()
    with proxied(script, limits={"answer_seconds": 0.8}) as (proxy, _):
        assert proxy.client().send(GET).message()[1] == b"x" * 10
        proxy.wait_outcomes(ok=1)


def test_a_server_that_does_not_accept_is_504() -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    try:
        for _ in range(4):  # the backlog, and what the kernel adds to it
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        with proxied(echo_forever, limits={"connect_seconds": 0.3}) as (proxy, _):
            proxy.proxy.pool._address = full.getsockname()
            head, _ = proxy.client().send(GET).message()
            assert head.startswith(b"HTTP/1.1 504 ")
            assert b"X-Exporter-Reason: connect-timeout\r\n" in head
            proxy.wait_outcomes(timeout=1)
    finally:
        for filler in fillers:
            filler.close()
        full.close()


def test_a_name_that_does_not_resolve_is_502() -> None:
    with proxied(echo_forever) as (proxy, _):
        proxy.proxy.pool._address = ("no-such-host.invalid", 80)
        head, _ = proxy.client().send(GET).message()
        assert b"X-Exporter-Reason: upstream-unreachable\r\n" in head


# ---------------------------------------------------------------------------------------- clients that leave


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_client_that_leaves_cancels_the_request_upstream(how: str, moment: str) -> None:
    asked, gone = threading.Event(), threading.Event()

    def script(wire: Wire) -> None:
        wire.message()
        if moment == "during":
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        asked.set()
        if wire.ended():
            gone.set()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(POST)
        assert asked.wait(PATIENCE)
        if moment == "during":
            wire.until(b"abc\r\n")
        getattr(wire, how)()
        assert gone.wait(PATIENCE), "the model server sees that nobody waits"
        proxy.wait_outcomes(cancelled=1)


def test_a_client_that_leaves_within_its_request_cancels_it() -> None:
    gone = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        if wire.ended():
            gone.set()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 1000\r\n\r\nhalf")
        wait_until(lambda: proxy.meter.default.executing.inside == 1, "the request")
        wire.close()
        assert gone.wait(PATIENCE)
        proxy.wait_outcomes(cancelled=1)


def test_a_client_that_leaves_while_the_connection_is_made_leaves_it_to_the_next() -> None:
    with proxied(echo_forever) as (proxy, server):
        for _ in range(20):
            wire = proxy.client().send(POST)
            wire.reset()
        wait_until(lambda: sum(proxy.outcomes().values()) == 20, "every request is counted")
        assert set(proxy.outcomes()) <= {"ok", "cancelled"}
        assert proxy.client().send(POST).message()[1] == b"hello"
        assert server.connections <= 20


def test_a_client_that_leaves_between_requests_is_no_event() -> None:
    with proxied(echo_forever) as (proxy, _):
        wire = proxy.client().send(POST)
        wire.message()
        wire.close()
        wait_until(lambda: proxy.value(names.PROXY_CONNECTIONS, "client") == 0, "closed")
        proxy.client().close()
        proxy.wait_outcomes(ok=1)


# ---------------------------------------------------------------------------------------------------- limits


def test_a_head_too_long_is_431() -> None:
    with proxied(echo_forever, limits={"head_bytes": 4096}) as (proxy, server):
        for field in (b"X: " + b"a" * 5000 + b"\r\n\r\n", b"X: " + b"a" * 50_000):
            head, _ = proxy.client().send(GET[:-2] + field).message()
            assert head.startswith(b"HTTP/1.1 431 ")
        assert server.connections == 0
        proxy.wait_outcomes(client_error=2)


def test_a_head_of_an_answer_too_long_is_502() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 5000 + b"\r\n\r\n")
        wire.rest()

    with proxied(script, limits={"head_bytes": 4096}) as (proxy, _):
        assert proxy.client().send(GET).message()[0].startswith(b"HTTP/1.1 502 ")


def test_a_head_that_dribbles_is_408() -> None:
    stop = threading.Event()
    with proxied(echo_forever, limits={"head_seconds": 0.5}) as (proxy, server):
        wire = proxy.client().send(b"GET / HTTP/1.1\r\nHost: m\r\n")

        def dribble() -> None:
            while not stop.wait(0.05):
                try:
                    wire.send(b"X: y\r\n")  # a byte now and then does not keep the door open
                except OSError:
                    return

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            assert wire.head().startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()
            thread.join()
        assert server.connections == 0
        proxy.wait_outcomes(client_error=1)


def test_a_body_that_stops_coming_is_408_and_ends_upstream() -> None:
    gone = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        if wire.ended():
            gone.set()

    with proxied(script, limits={"client_seconds": 0.4}) as (proxy, _):
        wire = proxy.client().send(POST[:-2])
        head, _ = wire.message()
        assert head.startswith(b"HTTP/1.1 408 ")
        assert gone.wait(PATIENCE)
        proxy.wait_outcomes(client_error=1)


def test_an_idle_connection_is_closed_in_silence() -> None:
    with proxied(echo_forever, limits={"keep_alive_seconds": 0.4}) as (proxy, _):
        wire = proxy.client().send(POST)
        wire.message()
        assert wire.rest() == b""
        assert proxy.client().rest() == b""
        proxy.wait_outcomes(ok=1)


def test_an_idle_upstream_connection_is_closed_before_the_server_does() -> None:
    with proxied(echo_forever, limits={"upstream_idle_seconds": 0.3}) as (proxy, server):
        wire = proxy.client()
        wire.send(POST).message()
        assert proxy.proxy.pool.idle == 1
        wait_until(lambda: proxy.proxy.pool.idle == 0, "closed")
        wire.send(POST).message()
        assert server.connections == 2


def test_a_connection_too_many_is_turned_away() -> None:
    with proxied(echo_forever, limits={"connections": 2}) as (proxy, _):
        first, second = proxy.client(), proxy.client()
        first.send(POST).message()
        second.send(POST).message()
        third = proxy.client()
        head, _ = third.message()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"X-Exporter-Reason: too-many-connections\r\n" in head
        assert b"Retry-After: 1\r\n" in head
        third.close()
        first.close()
        wait_until(lambda: proxy.value(names.PROXY_CONNECTIONS, "client") == 1, "closed")
        assert proxy.client().send(POST).message()[1] == b"hello"


# --------------------------------------------------------------------------------------------- back-pressure


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("direction", ["request", "answer"])
def test_a_hundred_megabytes_pass_at_flat_memory(direction: str) -> None:
    """The receiver is slow; the proxy keeps the sender waiting instead of the bytes."""
    total, block = 100_000_000, b"x" * 1_000_000
    received = 0

    def script(wire: Wire) -> None:
        nonlocal received
        wire.head()
        if direction == "request":
            received = len(wire.buffer)
            while received < total:
                received += len(wire.sock.recv(1 << 20))
                wait_a_little.wait(0.001)
            wire.send(answer(b"ok"))
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            for _ in range(total // len(block)):
                wire.send(block)
        wire.rest()

    wait_a_little = threading.Event()
    with proxied(script) as (proxy, _):
        before = most = _resident()
        wire = proxy.client()
        if direction == "request":
            wire.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % total)
            for _ in range(total // len(block)):
                wire.send(block)
                most = max(most, _resident())
            assert wire.message()[1] == b"ok"
            assert received == total
        else:
            wire.send(GET)
            wire.head()
            received = len(wire.buffer)
            while received < total:
                received += len(wire.sock.recv(1 << 20))
                most = max(most, _resident())
                wait_a_little.wait(0.001)
        proxy.wait_outcomes(ok=1)
        metric = names.REQUEST_BYTES if direction == "request" else names.RESPONSE_BYTES
        assert proxy.value(metric, "default") == total
        assert most - before < 12_000_000, f"{(most - before) / 1e6:.1f} MB more"


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        try:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000)
        except OSError:
            cut.set()

    cut = threading.Event()
    with proxied(script, limits={"client_seconds": 0.5}) as (proxy, _):
        proxy.client().send(GET)
        proxy.wait_outcomes(cancelled=1)
        assert cut.wait(PATIENCE)


def test_a_client_that_takes_slowly_is_not_cut_off() -> None:
    """It takes less than a buffer within the limit, but it takes."""
    size = 5_000_000

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"x" * size))
        wire.rest()

    pause = threading.Event()
    with proxied(script, limits={"client_seconds": 0.6}) as (proxy, _):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", proxy.port))
        wire = Wire(sock)
        wire.send(GET)
        try:
            for _ in range(8):
                wire.exactly(30_000)
                pause.wait(0.25)
            assert proxy.outcomes() == {}
        finally:
            wire.close()
        proxy.wait_outcomes(cancelled=1)


def test_interim_answers_without_end_are_refused() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000)
        wire.rest()

    with proxied(script) as (proxy, _):
        assert b"HTTP/1.1 502 " in proxy.ask(GET[:-2] + b"Connection: close\r\n\r\n")
        proxy.wait_outcomes(server_error=1)


def test_a_request_ends_when_the_client_has_taken_the_answer() -> None:
    size = 30_000_000
    served = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"x" * size))
        served.set()
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(GET)
        assert not served.wait(0.3), "the server is held back"
        assert proxy.meter.default.executing.inside == 1
        assert len(wire.message()[1]) == size
        proxy.wait_outcomes(ok=1)
