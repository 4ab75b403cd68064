"""Reading heads: what is kept, what is remembered, and that a second parser reads what passes as we do."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.proxy.heads import (
    BadMessage,
    Memo,
    RequestHead,
    interpret_request,
    interpret_response,
    validate_request,
    validate_response,
)

LINES = [
    b"Host: model",
    b"host:model:8080",
    b"Content-Length: 5",
    b"content-length:\t17 ",
    b"Transfer-Encoding: chunked",
    b"TRANSFER-ENCODING:chunked",
    b"Connection: keep-alive",
    b"Connection: close, X-Extra",
    b"X-Extra: content-length: 9",
    b"Content-Length-X: 8",
    b"X-Host: other",
    b"Cookie: a=b; c=\xe4",
    b"Expect: 100-continue",
    b"Content-Type: application/json",
]
REQUEST_LINES = [b"POST /predict HTTP/1.1", b"GET /?q=1 HTTP/1.0", b"PUT * HTTP/1.1", b"HEAD /a%20b HTTP/1.1"]


def read(raw: bytes) -> RequestHead:
    return interpret_request(*validate_request(raw))


def second_opinion(raw: bytes) -> tuple[bytes, bytes, bytes, str]:
    """Method, target, version and framing as h11 reads them."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    event = connection.next_event()
    assert isinstance(event, h11.Request), event
    fields = dict(event.headers)
    framing = "chunked" if b"transfer-encoding" in fields else fields.get(b"content-length", b"0").decode()
    return event.method, event.target, event.http_version, framing


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(REQUEST_LINES),
    st.lists(st.sampled_from(LINES), max_size=6, unique=True),
    st.one_of(st.none(), st.tuples(st.integers(0, 400), st.integers(0, 255))),
    st.one_of(
        st.none(), st.tuples(st.integers(0, 400), st.sampled_from([b"\r", b"\n", b" ", b"\t", b":", b"\r\n"]))
    ),
)
def test_what_we_let_through_h11_reads_as_we_do(
    line: bytes, lines: list[bytes], changed: tuple[int, int] | None, inserted: tuple[int, bytes] | None
) -> None:
    """Any line changed by a byte, or with one pushed in: refused, or read alike by both."""
    raw = bytearray(b"\r\n".join([line, *lines, b"", b""]))
    if changed is not None:
        raw[changed[0] % len(raw)] = changed[1]
    text = bytes(raw)
    if inserted is not None:
        at = inserted[0] % len(text)
        text = text[:at] + inserted[1] + text[at:]
    end = text.find(b"\r\n\r\n")
    if end < 0:
        return
    try:
        head = read(text[: end + 4])
    except BadMessage:
        return
    forwarded = head.forward(text[: end + 4])
    ours = (head.method, head.target, head.version, "chunked" if head.chunked else str(head.length))
    method, target, version, framing = second_opinion(forwarded)
    assert (method, target, version, framing.lstrip("0") or "0") == (*ours[:3], ours[3].lstrip("0") or "0")


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        (b"GET / HTTP/1.1", [], {"keep_alive": True, "length": 0, "repeatable": True}),
        (b"GET / HTTP/1.1", [b"Connection: close"], {"keep_alive": False}),
        (b"GET / HTTP/1.1", [b"Connection: Close, TE"], {"keep_alive": False}),
        (b"GET / HTTP/1.0", [], {"keep_alive": False}),
        (b"GET / HTTP/1.0", [b"Connection: Keep-Alive"], {"keep_alive": True}),
        (b"POST / HTTP/1.1", [b"Content-Length: 007"], {"length": 7, "repeatable": False}),
        (b"POST / HTTP/1.1", [b"Transfer-Encoding: Chunked"], {"length": None, "chunked": True}),
        (b"GET / HTTP/1.1", [b"Connection: upgrade", b"Upgrade: websocket"], {"upgrade": True}),
        (b"GET / HTTP/1.0", [b"Connection: upgrade", b"Upgrade: websocket"], {"upgrade": False}),
        (b"GET / HTTP/1.1", [b"Connection: upgrade", b"Upgrade: H2C"], {"upgrade": False}),
    ],
)
def test_what_a_request_asks_for(line: bytes, fields: list[bytes], expected: dict[str, object]) -> None:
    head = read(b"\r\n".join([line, b"Host: m", *fields, b"", b""]))
    assert {name: getattr(head, name) for name in expected} == expected


def test_a_head_without_connection_fields_is_passed_on_as_the_same_object() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: m\r\nConnection: keep-alive\r\n\r\n"
    assert read(raw).forward(raw) is raw
    answer = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n"
    head = interpret_response(*validate_response(answer))
    assert head.forward(answer) is answer
    assert head.closing(answer) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", {"length": 3, "keep_alive": True}),
        (b"HTTP/1.1 200 OK\r\n\r\n", {"length": None, "until_close": True, "keep_alive": False}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {"chunked": True, "until_close": False}),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", {"keep_alive": False}),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", {"keep_alive": False}),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n", {"keep_alive": True}),
        (b"HTTP/1.1 204 No Content\r\n\r\n", {"length": 0, "keep_alive": True}),
        (b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\n\r\n", {"event_stream": True}),
    ],
)
def test_what_an_answer_says(raw: bytes, expected: dict[str, object]) -> None:
    head = interpret_response(*validate_response(raw))
    assert {name: getattr(head, name) for name in expected} == expected


def test_a_memo_reads_once_what_it_has_seen_and_what_means_the_same() -> None:
    interpreted: list[bytes] = []

    def interpret(line: bytes, found: list[tuple[bytes, bytes]]) -> RequestHead:
        interpreted.append(line)
        return interpret_request(line, found)

    memo = Memo(validate_request, interpret)
    traced = b"GET / HTTP/1.1\r\nHost: m\r\ntraceparent: %d\r\n\r\n"
    first = memo.learn(traced % 1)
    assert memo.get(traced % 1) is first
    assert memo.get(traced % 2) is None
    assert memo.learn(traced % 2) is first, "another trace, the same meaning"
    other = memo.learn(b"GET / HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n")
    assert other is not first
    assert len(interpreted) == 2


def test_a_memo_is_bounded_and_keeps_nothing_bad() -> None:
    memo = Memo(validate_request, interpret_request)
    for i in range(3 * Memo.ENTRIES):
        memo.learn(b"GET /%d HTTP/1.1\r\nHost: m\r\n\r\n" % i)
        assert len(memo._by_bytes) <= Memo.ENTRIES
        assert len(memo._by_meaning) <= Memo.ENTRIES
    long = b"GET / HTTP/1.1\r\nHost: m\r\nX: " + b"a" * Memo.LONGEST + b"\r\n\r\n"
    memo.learn(long)
    assert memo.get(long) is None
    bad = b"GET / HTTP/1.1\r\nHost: m\r\nHost: n\r\n\r\n"
    for _ in range(2):
        with pytest.raises(BadMessage):
            memo.learn(bad)
    assert memo.get(bad) is None
