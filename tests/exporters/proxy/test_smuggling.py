"""Nothing that two parsers could read in two ways reaches the model server."""

from __future__ import annotations

import threading

import pytest

from exporters.proxy.heads import (
    BadMessage,
    Memo,
    interpret_request,
    interpret_response,
    validate_request,
    validate_response,
)
from tests.exporters.proxy.wire import PATIENCE, Wire, answer, echo_forever, proxied, wait_until

HOST = b"POST / HTTP/1.1\r\nHost: m\r\n"

SMUGGLED = {
    "CL and TE": HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "CL twice, different": HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "CL twice, equal": HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "CL list": HOST + b"Content-Length: 5, 5\r\n\r\nhello",
    "CL signed": HOST + b"Content-Length: +5\r\n\r\nhello",
    "CL negative": HOST + b"Content-Length: -1\r\n\r\n",
    "CL hexadecimal": HOST + b"Content-Length: 0x5\r\n\r\nhello",
    "CL empty": HOST + b"Content-Length:\r\n\r\n",
    "CL with a space inside": HOST + b"Content-Length: 1 0\r\n\r\n0123456789",
    "CL beyond 64 bits": HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "space before colon": HOST + b"Content-Length : 5\r\n\r\nhello",
    "TE space before colon": HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": HOST + b"X: a\r\n b\r\n\r\n",
    "obs-fold of TE": HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "TE vertical tab": HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "TE twice": HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "TE not last": HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "TE misspelled": HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE quoted": HOST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF in head": HOST + b"X: a\nContent-Length: 5\r\n\r\nhello",
    "bare CR in head": HOST + b"X: a\rContent-Length: 5\r\n\r\nhello",
    "NUL in value": HOST + b"X: a\x00b\r\n\r\n",
    "NUL in name": HOST + b"X\x00: a\r\n\r\n",
    "space in name": HOST + b"X Y: a\r\n\r\n",
    "empty name": HOST + b": a\r\n\r\n",
    "line without colon": HOST + b"just text\r\n\r\n",
    "leading space on the first field": b"GET / HTTP/1.1\r\n Host: m\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two spaces in the request line": b"GET  / HTTP/1.1\r\nHost: m\r\n\r\n",
    "tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: m\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: m\r\n\r\n",
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: m\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: m\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: m\r\n\r\n",
    "Connection hides the length": HOST + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}

CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n\r\n"

BAD_CHUNKS = {
    "not a number": b"xyz\r\nabc\r\n0\r\n\r\n",
    "signed": b"+3\r\nabc\r\n0\r\n\r\n",
    "prefixed": b"0x3\r\nabc\r\n0\r\n\r\n",
    "empty size": b"\r\nabc\r\n0\r\n\r\n",
    "space before size": b" 3\r\nabc\r\n0\r\n\r\n",
    "space after size": b"3 \r\nabc\r\n0\r\n\r\n",
    "longer than said": b"3\r\nabcd\r\n0\r\n\r\n",
    "shorter than said": b"5\r\nabc\r\n0\r\n\r\n",
    "bare LF after size": b"3\nabc\r\n0\r\n\r\n",
    "bare LF after data": b"3\r\nabc\n0\r\n\r\n",
    "bare LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "bare CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;\x00\r\nabc\r\n0\r\n\r\n",
    "overflow": b"ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
    "huge": b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "an endless size line": b"3;" + b"a" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
    "trailer smuggles a length": b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer with obs-fold": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer without colon": b"0\r\nxyz\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_an_ambiguous_head_is_refused_and_never_sent_on(name: str) -> None:
    with proxied(echo_forever) as (proxy, server):
        wire = proxy.client().send(SMUGGLED[name])
        head, body = wire.message()
        assert head.split(b" ")[1] in {b"400", b"501"}, head
        assert b"X-Exporter-Reason: bad-request\r\n" in head
        assert body.strip(), "the answer says what is wrong"
        wire.sock.shutdown(1)
        assert wire.rest() == b"", "nothing after it is read as a request"
        assert server.connections == 0
        proxy.wait_outcomes(client_error=1)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_bad_chunk_is_refused_and_the_server_sees_a_cut_request(name: str, cut: bool) -> None:
    received: list[bytes] = []

    def script(wire: Wire) -> None:
        received.append(wire.rest())

    with proxied(script) as (proxy, _):
        wire = proxy.client()
        if cut:
            wire.send(CHUNKED)
            for i in range(0, len(BAD_CHUNKS[name]), 3):
                try:
                    wire.send(BAD_CHUNKS[name][i : i + 3])
                except OSError:
                    break
        else:
            wire.send(CHUNKED + BAD_CHUNKS[name])
        head, _ = wire.message()
        assert head.startswith(b"HTTP/1.1 4"), head
        wire.sock.shutdown(1)
        assert wire.rest() == b""
        proxy.wait_outcomes(client_error=1)
    assert all(not data.endswith(b"0\r\n\r\n") for data in received)


def test_what_follows_a_refused_request_is_not_a_request() -> None:
    inner = b"GET /admin HTTP/1.1\r\nHost: m\r\n\r\n"
    with proxied(echo_forever) as (proxy, server):
        wire = proxy.client().send(SMUGGLED["CL and TE"] + inner)
        assert wire.message()[0].startswith(b"HTTP/1.1 400 ")
        wire.sock.shutdown(1)
        assert wire.rest() == b""
        assert server.connections == 0


BAD_ANSWERS = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "CL twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_ambiguous_answer_becomes_502(name: str) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(BAD_ANSWERS[name])
        wire.rest()

    with proxied(script) as (proxy, _):
        wire = proxy.client().send(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
        head, _ = wire.message()
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"X-Exporter-Reason: upstream-bad-answer" in head
        proxy.wait_outcomes(server_error=1)


def test_bytes_after_an_answer_are_not_the_next_answer() -> None:
    """A server that says too much could answer the next client with what the last one planted."""

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"mine") + answer(b"planted"))
        wire.rest()

    def honest(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"yours"))

    with proxied(script, honest) as (proxy, server):
        wire = proxy.client()
        assert wire.send(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n").message()[1] == b"mine"
        assert wire.send(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n").message()[1] == b"yours"
        assert server.connections == 2


def test_a_server_that_speaks_unasked_loses_its_connection() -> None:
    said = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"mine"))
        said.wait(PATIENCE)
        wire.send(answer(b"planted"))
        wire.rest()

    def honest(wire: Wire) -> None:
        wire.head()
        wire.send(answer(b"yours"))

    with proxied(script, honest) as (proxy, _):
        wire = proxy.client()
        assert wire.send(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n").message()[1] == b"mine"
        said.set()
        wait_until(lambda: proxy.proxy.pool.idle == 0, "the connection is given up")
        assert wire.send(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n").message()[1] == b"yours"


def test_heads_are_parsed_once_and_refused_each_time() -> None:
    """The memo of validated heads never learns a bad one."""
    with proxied(echo_forever) as (proxy, server):
        for _ in range(3):
            assert proxy.ask(SMUGGLED["CL and TE"]).startswith(b"HTTP/1.1 400 ")
        assert server.connections == 0


@pytest.mark.parametrize("raw", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_it_is_said_what_is_wrong(raw: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        Memo(validate_request, interpret_request).learn(raw[: raw.index(b"\r\n\r\n") + 4])
    assert caught.value.reason
    assert caught.value.status in {400, 501}


def test_an_answer_to_head_has_no_body() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    head = interpret_response(*validate_response(raw), of_head=True)
    assert head.length == 0
    assert head.keep_alive
