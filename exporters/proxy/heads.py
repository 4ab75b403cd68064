"""Heads of HTTP/1 messages: validated by llhttp, reduced to what a proxy must know. Pure.

A head is forwarded byte for byte, in order. Only what belongs to one connection is taken out (RFC 9110,
7.6.1): Connection, Keep-Alive, Proxy-Connection and the fields that Connection names. Where framing could be
read in two ways the message is refused: that is how requests are smuggled (RFC 9112, 11.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import httptools

END = b"\r\n\r\n"
_CONNECTION_FIELDS = frozenset({b"connection", b"keep-alive", b"proxy-connection"})
_NEVER_HOP_BY_HOP = frozenset({b"host", b"content-length", b"transfer-encoding"})
_SAFE_TO_REPEAT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})  # RFC 9110, 9.2.2

Fields = list[tuple[bytes, bytes]]


class BadMessage(Exception):  # noqa: N818 - reads as what it says
    """Not HTTP/1, or ambiguous. `status` is the answer for a request; the text says what is wrong."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Of a request. `length` is that of the body in bytes, 0 without one; None when `chunked`."""

    method: bytes
    target: bytes
    version: bytes  # b"1.0" or b"1.1"
    length: int | None
    chunked: bool
    keep_alive: bool  # the client wants the connection to stay
    upgrade: bool
    expects_continue: bool
    repeatable: bool  # by its method
    verbatim: bool  # forward is what was received
    forward: bytes


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Of an answer. `length` is None when `chunked`, or when the body lasts `until_close`."""

    status: int
    length: int | None
    chunked: bool
    until_close: bool
    keep_alive: bool  # the upstream connection can be used again
    event_stream: bool
    verbatim: bool
    forward: bytes
    forward_closing: bytes  # tells the client that its connection ends here
    forward_keeping: bytes  # tells an HTTP/1.0 client that it stays

    @property
    def interim(self) -> bool:
        """1xx other than 101: another head follows."""
        return self.status < 200 and self.status != 101


class _Fields:
    """What llhttp calls back. Only heads are fed, so the body callbacks are not needed."""

    __slots__ = ("complete", "fields", "on_header", "target")

    def __init__(self) -> None:
        self.fields: Fields = []
        self.target = b""
        self.complete = False
        self.on_header: Callable[[bytes, bytes], None] = lambda name, value: self.fields.append(
            (name.lower(), value)
        )

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_headers_complete(self) -> None:
        self.complete = True


def _validate(parser_type: type, raw: bytes) -> tuple[_Fields, httptools.HttpParser]:
    seen = _Fields()
    parser = parser_type(seen)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # the head is fine, and what follows is not llhttp's to read
    except httptools.HttpParserError as error:
        if not seen.complete:
            raise BadMessage(str(error) or "malformed head") from None
    if not seen.complete:
        raise BadMessage("malformed head")
    return seen, parser


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]


def _tokens(fields: Fields, name: bytes) -> set[bytes]:
    """The members of a comma-separated field, lower case."""
    values = [value for key, value in fields if key == name]
    if not values:
        return set()
    return {token.strip().lower() for token in b",".join(values).split(b",")} - {b""}


def _framing(fields: Fields, version: bytes) -> tuple[int | None, bool]:
    """(Content-Length or None, chunked). llhttp has refused duplicates, signs, and both fields together."""
    codings = _values(fields, b"transfer-encoding")
    lengths = _values(fields, b"content-length")
    if not codings:
        return (int(lengths[0]) if lengths else None), False
    if len(codings) > 1 or codings[0].strip().lower() != b"chunked":
        raise BadMessage("Transfer-Encoding other than chunked", 501)
    if version == b"1.0":
        raise BadMessage("Transfer-Encoding in HTTP/1.0")
    if lengths:
        raise BadMessage("Content-Length beside Transfer-Encoding")
    return None, True


def _without(raw: bytes, dropped: set[bytes] | frozenset[bytes]) -> bytes:
    """The head without the named fields (lower case)."""
    lines = raw[: -len(END)].split(b"\r\n")
    kept = [line for line in lines[1:] if line.partition(b":")[0].lower() not in dropped]
    return b"\r\n".join([lines[0], *kept]) + END


def _with(raw: bytes, line: bytes) -> bytes:
    return raw[:-2] + line + END


def _hop_by_hop(fields: Fields, connection: set[bytes]) -> set[bytes]:
    """Names of the fields to take out."""
    named = connection - {b"close", b"keep-alive", b"upgrade", b"te"}
    if named & _NEVER_HOP_BY_HOP:
        raise BadMessage("Connection names a field that frames the message")
    return {key for key, _ in fields if key in _CONNECTION_FIELDS or key in named}


def parse_request(raw: bytes) -> RequestHead:
    """The head of a request; `raw` ends with the empty line.

    Raises:
        BadMessage: malformed, ambiguous, or not for a reverse proxy.
    """
    line, _, _ = raw.partition(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3 or parts[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise BadMessage("the first line is not 'METHOD target HTTP/1.1'")
    seen, _ = _validate(httptools.HttpRequestParser, raw)
    method, target, version = parts[0], parts[1], parts[2][5:]
    fields = seen.fields
    if method == b"CONNECT":
        raise BadMessage("CONNECT is for forward proxies", 501)
    hosts = len(_values(fields, b"host"))
    if hosts > 1 or (not hosts and version == b"1.1"):
        raise BadMessage("HTTP/1.1 needs one Host field" if not hosts else "more than one Host field")
    length, chunked = _framing(fields, version)
    connection = _tokens(fields, b"connection")
    upgrade = (
        version == b"1.1"
        and b"upgrade" in connection
        # the upgrade to HTTP/2 would hide every later request from the measurement
        and not {b"h2c", b"h2"} & _tokens(fields, b"upgrade")
    )
    dropped = _hop_by_hop(fields, connection)
    if upgrade:
        dropped -= {b"connection"}
    elif b"upgrade" in connection:
        dropped |= {b"upgrade", b"http2-settings"}
    elif connection == {b"keep-alive"} and version == b"1.1":
        dropped -= {b"connection"}
    return RequestHead(
        method=method,
        target=target,
        version=version,
        length=None if chunked else length or 0,
        chunked=chunked,
        keep_alive=b"close" not in connection and (version == b"1.1" or b"keep-alive" in connection),
        upgrade=upgrade,
        expects_continue=version == b"1.1" and b"100-continue" in _tokens(fields, b"expect"),
        repeatable=method in _SAFE_TO_REPEAT,
        verbatim=not dropped,
        forward=_without(raw, dropped) if dropped else raw,
    )


def parse_response(raw: bytes, method: bytes) -> ResponseHead:
    """The head of the answer to a request with `method`; `raw` ends with the empty line.

    Raises:
        BadMessage: malformed or ambiguous.
    """
    if not raw.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        raise BadMessage("the answer is not HTTP/1")
    seen, parser = _validate(httptools.HttpResponseParser, raw)
    status = parser.get_status_code()
    version = raw[5:8]
    fields = seen.fields
    length, chunked = _framing(fields, version)
    if method == b"HEAD" or status < 200 or status in {204, 304}:
        length, chunked = 0, False  # whatever the fields say (RFC 9112, 6.3)
    connection = _tokens(fields, b"connection")
    switching = status == 101
    dropped = set() if switching else _hop_by_hop(fields, connection)
    clean = _without(raw, dropped) if dropped else raw
    if version == b"1.0":
        clean = b"HTTP/1.1" + clean[8:]  # a proxy speaks its own version
    # "keep-alive" says nothing new in HTTP/1.1: left in, the answer can be passed on as it came
    harmless = version == b"1.1" and connection == {b"keep-alive"} and dropped == {b"connection"}
    forward = raw if harmless else clean
    kept_open = version == b"1.1" or b"keep-alive" in connection
    until_close = length is None and not chunked
    content_type = b"".join(_values(fields, b"content-type")).lower()
    return ResponseHead(
        status=status,
        length=length,
        chunked=chunked,
        until_close=until_close,
        keep_alive=kept_open and b"close" not in connection and not until_close,
        event_stream=content_type.startswith(b"text/event-stream"),
        verbatim=forward is raw,
        forward=forward,
        forward_closing=_with(clean, b"Connection: close"),
        forward_keeping=_with(clean, b"Connection: keep-alive"),
    )


Head = TypeVar("Head")


class Memo(Generic[Head]):
    """Heads already validated, by their bytes: clients and servers repeat themselves.

    Bounded in entries and in bytes; forgetting everything when full is cheap when heads never repeat.
    """

    __slots__ = ("_known", "_parse", "get")

    ENTRIES = 512
    LONGEST = 2048

    def __init__(self, parse: Callable[[bytes], Head]) -> None:
        self._known: dict[bytes, Head] = {}
        self._parse = parse
        self.get = self._known.get

    def learn(self, raw: bytes) -> Head:
        """Parse, and remember.

        Raises:
            BadMessage: from the parser.
        """
        head = self._parse(raw)
        if len(raw) <= self.LONGEST:
            if len(self._known) >= self.ENTRIES:
                self._known.clear()
            self._known[raw] = head
        return head
