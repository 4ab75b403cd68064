"""What passes through unchanged, and what the protocol asks of a proxy."""

from __future__ import annotations

import threading

import pytest

from exporters import names
from tests.exporters.proxy.wire import Wire, answer, echo_forever, proxied

POST = b"POST /predict HTTP/1.1\r\nHost: model\r\nContent-Length: 5\r\n\r\n"


def test_a_request_and_its_answer_pass_byte_for_byte() -> None:
    request = (
        b"POST /v2/models/iris/infer?x=%20y HTTP/1.1\r\nhOsT: model:8080\r\nX-Odd:   spaces  \r\n"
        b"X-Twice: 1\r\nx-twice: 2\r\nCookie: a=b\r\nX-High: \xe4\xf6\r\n"
        b"Content-Length: 5\r\nX-Empty:\r\n\r\nhe\x00lo"
    )
    response = (
        b"HTTP/1.1 201 Made It Up\r\nServer: x\r\nset-cookie: a\r\nSet-Cookie: b\r\nX-Pad:  y \r\n"
        b"Content-Length: 4\r\n\r\n\xff\x00\r\n"
    )
    seen: list[bytes] = []

    def script(wire: Wire) -> None:
        seen.append(wire.exactly(len(request)))
        wire.send(response)
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(request)
        assert wire.exactly(len(response)) == response
        proxy.wait_outcomes(ok=1)
        assert proxy.value(names.REQUEST_BYTES, "default") == 5
        assert proxy.value(names.RESPONSE_BYTES, "default") == 4
    assert seen == [request]


@pytest.mark.parametrize("step", [1, 2, 7, 31])
def test_bytes_may_come_in_any_pieces(step: int) -> None:
    """Both ways, heads and chunked bodies cut anywhere."""
    request = (
        b"POST /a HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;ext=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 7\r\n\r\n"
    )
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    seen: list[bytes] = []

    def script(wire: Wire) -> None:
        for _ in range(2):
            seen.append(b"".join(wire.message()))
            for i in range(0, len(response), step):
                wire.send(response[i : i + step])

    with proxied(script) as (proxy, server):
        wire = proxy.client()
        for _ in range(2):
            for i in range(0, len(request), step):
                wire.send(request[i : i + step])
            assert b"".join(wire.message()) == response
        proxy.wait_outcomes(ok=2)
        assert proxy.value(names.REQUEST_BYTES, "default") == 30, "payload, without the framing"
        assert proxy.value(names.RESPONSE_BYTES, "default") == 14
        assert server.connections == 1
    assert seen == [request, request]


def test_connections_to_the_server_are_used_again_the_last_one_first() -> None:
    with proxied(echo_forever) as (proxy, server):
        for _ in range(3):
            for _ in range(5):
                wire = proxy.client().send(POST + b"12345")
                assert wire.message()[1] == b"12345"
                wire.close()
        assert server.connections == 1
        assert proxy.value(names.PROXY_CONNECTIONS, "upstream_idle") == 1


def test_hop_by_hop_fields_stay_on_their_hop() -> None:
    seen: list[bytes] = []

    def script(wire: Wire) -> None:
        seen.append(wire.message()[0])
        wire.send(
            b"HTTP/1.1 200 OK\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n"
            b"X-Kept: 1\r\nContent-Length: 0\r\n\r\n"
        )
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(
            b"GET / HTTP/1.1\r\nHost: m\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n"
            b"Proxy-Connection: keep-alive\r\nTE: trailers\r\nX-Kept: 1\r\n\r\n"
        )
        assert (
            wire.rest() == b"HTTP/1.1 200 OK\r\nX-Kept: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    assert seen == [b"GET / HTTP/1.1\r\nHost: m\r\nTE: trailers\r\nX-Kept: 1\r\n\r\n"]


@pytest.mark.parametrize(
    ("request_head", "response", "body"),
    [
        (b"HEAD / HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b""),
        (b"HEAD / HTTP/1.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"GET / HTTP/1.1", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    ],
)
def test_answers_without_a_body_end_with_their_head(
    request_head: bytes, response: bytes, body: bytes
) -> None:
    def script(wire: Wire) -> None:
        for _ in range(3):
            wire.head()
            wire.send(response)

    with proxied(script) as (proxy, server):
        wire = proxy.client()
        for _ in range(3):
            wire.send(request_head + b"\r\nHost: m\r\n\r\n")
            assert wire.exactly(len(response)) == response
        assert server.connections == 1
        proxy.wait_outcomes(ok=3)
        assert proxy.value(names.RESPONSE_BYTES, "default") == 3 * len(body)


def test_continue_is_asked_of_the_server_and_passed_on() -> None:
    def script(wire: Wire) -> None:
        assert b"Expect: 100-continue" in wire.head()
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exactly(5) == b"hello"
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b"done"))
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(POST[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"hello")
        assert wire.head().startswith(b"HTTP/1.1 103 ")
        assert wire.message()[1] == b"done"
        proxy.wait_outcomes(ok=1)


def test_a_refusal_instead_of_continue_ends_the_connection() -> None:
    """The client may or may not send the body now: nobody could tell it from the next request."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"too large", "413 Content Too Large"))
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(POST[:-2] + b"Expect: 100-continue\r\n\r\n")
        head, body = wire.message()
        assert body == b"too large"
        assert b"Connection: close\r\n" in head
        assert wire.rest() == b""
        proxy.wait_outcomes(client_error=1)


def test_an_early_answer_reaches_a_client_that_still_sends() -> None:
    answered = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"no", "400 Bad Request"))
        answered.wait(10)

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(20):
            wire.send(b"x" * 10_000)
        head, body = wire.message()
        assert body == b"no"
        assert b"Connection: close" in head
        wire.send(b"x" * 10_000)  # would be answered by a reset if the proxy had stopped reading
        assert wire.rest() == b""
        answered.set()
        proxy.wait_outcomes(client_error=1)


def test_trailers_pass_both_ways() -> None:
    body = b"3\r\nabc\r\n0\r\nX-Check: 1\r\nX-More: 2\r\n\r\n"

    def script(wire: Wire) -> None:
        assert wire.message()[1] == body
        wire.send(b"HTTP/1.1 200 OK\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(
            b"POST / HTTP/1.1\r\nHost: m\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        )
        assert wire.message()[1] == body


def test_http_1_0_client_and_server() -> None:
    seen: list[bytes] = []

    def until_close(wire: Wire) -> None:
        seen.append(wire.head())
        wire.send(b"HTTP/1.0 200 OK\r\n\r\nto the end")

    def sized(wire: Wire) -> None:
        seen.append(wire.head())
        wire.send(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nsized")

    with proxied(until_close, sized, sized) as (proxy, server):
        assert proxy.ask(b"GET /1 HTTP/1.0\r\n\r\n") == (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"
        )
        assert proxy.ask(b"GET /2 HTTP/1.0\r\nHost: m\r\n\r\n") == (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsized"
        )
        wire = proxy.client().send(b"GET /3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, body = wire.message()
        assert body == b"sized"
        assert b"Connection: keep-alive" in head
        wire.send(b"GET /4 HTTP/1.0\r\n\r\n")
        assert wire.rest().endswith(b"sized")
        assert server.connections == 4
        proxy.wait_outcomes(ok=4)
    assert seen[0] == b"GET /1 HTTP/1.0\r\n\r\n"


def test_an_answer_until_close_ends_the_client_connection_too() -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        wire.send(b"part")
        wire.send(b"and part")

    with proxied(script) as (proxy, _):
        assert proxy.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n") == (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npartand part"
        )
        proxy.wait_outcomes(ok=1)


def test_pipelined_requests_are_answered_in_order() -> None:
    def script(wire: Wire) -> None:
        while True:
            head = wire.head()
            wire.send(answer(head.split(b" ")[1]))

    with proxied(script) as (proxy, _):
        wire = proxy.client()
        wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: m\r\n\r\n" % i for i in range(500)))
        assert [wire.message()[1] for _ in range(500)] == [b"/%d" % i for i in range(500)]
        proxy.wait_outcomes(ok=500)


def test_pipelined_bodies_do_not_run_into_each_other() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with proxied(echo_forever) as (proxy, _):
        wire = proxy.client().send(POST + b"first" + chunked + POST + b"third")
        assert wire.message()[1] == b"first"
        assert b"abc" in wire.message()[1]
        assert wire.message()[1] == b"third"


def test_an_upgraded_connection_is_a_tunnel() -> None:
    def script(wire: Wire) -> None:
        head = wire.head()
        assert b"Upgrade: websocket\r\n" in head
        assert b"Connection: Upgrade\r\n" in head
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
        assert wire.exactly(4) == b"ping"
        wire.send(b"\x81\x04pong")
        assert wire.rest() == b"bye"
        wire.send(b"last words")

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(
            b"GET /ws HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert wire.head().startswith(b"HTTP/1.1 101 ")
        proxy.wait_outcomes(ok=1)  # measured to the switch: a conversation is not a request
        assert wire.exactly(2) == b"hi"
        assert wire.send(b"ping").exactly(6) == b"\x81\x04pong"
        wire.send(b"bye")
        wire.sock.shutdown(1)
        assert wire.rest() == b"last words"


def test_an_upgrade_that_is_declined_is_an_answer() -> None:
    with proxied(echo_forever) as (proxy, _):
        wire = proxy.client()
        for _ in range(2):
            wire.send(b"GET /ws HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert wire.message()[1] == b"hello"


def test_an_upgrade_to_http_2_is_not_offered_to_the_server() -> None:
    """Requests in it would pass unmeasured and unchecked."""
    seen: list[bytes] = []

    def script(wire: Wire) -> None:
        seen.append(wire.head())
        wire.send(answer())

    with proxied(script) as (proxy, _):
        proxy.client().send(
            b"GET / HTTP/1.1\r\nHost: m\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
        ).message()
    assert seen == [b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"]


def test_an_empty_line_before_a_request_is_passed_over() -> None:
    with proxied(echo_forever) as (proxy, _):
        wire = proxy.client()
        assert wire.send(b"\r\n" + POST + b"first").message()[1] == b"first"
        assert wire.send(b"\r\n\r\n").send(POST + b"again").message()[1] == b"again"
