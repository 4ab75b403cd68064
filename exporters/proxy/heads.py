"""Heads of HTTP/1 messages: validated by llhttp, reduced to what a proxy must know. Pure.

A head is forwarded byte for byte, in order. Only what belongs to one connection is taken out (RFC 9110,
7.6.1): Connection, Keep-Alive, Proxy-Connection and the fields that Connection names. Where framing could be
read in two ways the message is refused: that is how requests are smuggled (RFC 9112, 11.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import httptools

END = b"\r\n\r\n"
_MATTERING = (
    *("host", "content-length", "transfer-encoding", "content-type"),
    *("connection", "keep-alive", "proxy-connection", "upgrade"),
)


def _any_case(name: str) -> str:
    """A pattern for `name` in any case: twice as fast as the flag for it."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in name)


# llhttp has refused what is not a field before this looks for those that matter to a proxy
_FIELD = re.compile(f"\r\n({'|'.join(map(_any_case, _MATTERING))}):[ \t]*([^\r]*)".encode())
# llhttp passes over empty lines and spaces that others may not
_REQUEST_LINE = re.compile(rb"[A-Z-]+ [\x21-\x7e]+ HTTP/1\.[01]")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")
_CONNECTION_FIELDS = frozenset({b"connection", b"keep-alive", b"proxy-connection"})
_NEVER_HOP_BY_HOP = frozenset({b"host", b"content-length", b"transfer-encoding"})
_SAFE_TO_REPEAT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})  # RFC 9110, 9.2.2
_NOTHING: frozenset[bytes] = frozenset()
_KEEP_ALIVE = frozenset({b"keep-alive"})

Found = list[tuple[bytes, bytes]]  # name and value of each field that matters, as written, in order
Fields = dict[bytes, bytes]  # lower-case names; the values of a repeated field joined with commas


class BadMessage(Exception):  # noqa: N818 - reads as what it says
    """Not HTTP/1, or ambiguous. `status` is the answer for a request; the text says what is wrong."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class RequestHead(NamedTuple):
    """Of a request. `length` is that of the body in bytes, 0 without one; None when `chunked`."""

    method: bytes
    target: bytes
    version: bytes  # b"1.0" or b"1.1"
    length: int | None
    chunked: bool
    keep_alive: bool  # the client wants the connection to stay
    upgrade: bool
    repeatable: bool  # by its method
    dropped: frozenset[bytes]  # fields that are not passed on

    def forward(self, raw: bytes) -> bytes:
        """What goes to the server: `raw` itself where nothing is taken out."""
        return _without(raw, self.dropped) if self.dropped else raw


class ResponseHead(NamedTuple):
    """Of an answer. `length` is None when `chunked`, or when the body lasts `until_close`."""

    status: int
    version: bytes
    length: int | None
    chunked: bool
    until_close: bool
    keep_alive: bool  # the upstream connection can be used again
    event_stream: bool
    dropped: frozenset[bytes]

    def forward(self, raw: bytes) -> bytes:
        """What goes to the client: `raw` itself where nothing is taken out."""
        clean = _without(raw, self.dropped) if self.dropped else raw
        # a proxy speaks its own version
        return clean if self.version == b"1.1" else b"HTTP/1.1" + clean[8:]

    def closing(self, raw: bytes) -> bytes:
        """The same for a client whose connection ends with this answer."""
        return self._with(raw, b"Connection: close")

    def keeping(self, raw: bytes) -> bytes:
        """The same for an HTTP/1.0 client whose connection stays."""
        return self._with(raw, b"Connection: keep-alive")

    def _with(self, raw: bytes, line: bytes) -> bytes:
        return _without(self.forward(raw), _CONNECTION_FIELDS)[:-2] + line + END


# ------------------------------------------------------------------------------------------------- reading


def _validated(parser: httptools.HttpParser, raw: bytes) -> Found:
    """The fields that matter of a head that llhttp accepts."""
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # the head is fine, and what follows is not llhttp's to read
    except httptools.HttpParserError as error:
        raise BadMessage(str(error) or "malformed head") from None
    return _FIELD.findall(raw)


def _fields(found: Found) -> Fields:
    fields: Fields = {}
    for name, value in found:
        key = name.lower()
        fields[key] = fields[key] + b"," + value if key in fields else value
    return fields


def _tokens(value: bytes | None) -> set[bytes]:
    """The members of a comma-separated field, lower case."""
    if value is None:
        return set()
    return {token.strip().lower() for token in value.split(b",")} - {b""}


def _framing(fields: Fields, version: bytes) -> tuple[int | None, bool]:
    """(Content-Length or None, chunked). llhttp has refused duplicates, signs, and both fields together."""
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is None:
        return (None if length is None else int(length)), False
    if coding.strip().lower() != b"chunked":
        raise BadMessage("Transfer-Encoding other than chunked", 501)
    if version == b"1.0":
        raise BadMessage("Transfer-Encoding in HTTP/1.0")
    if length is not None:
        raise BadMessage("Content-Length beside Transfer-Encoding")
    return None, True


def _hop_by_hop(fields: Fields, connection: set[bytes]) -> frozenset[bytes]:
    """Names of the fields to take out."""
    if _CONNECTION_FIELDS.isdisjoint(fields):
        return _NOTHING
    named = connection - {b"close", b"keep-alive", b"upgrade", b"te"}
    if named & _NEVER_HOP_BY_HOP:
        raise BadMessage("Connection names a field that frames the message")
    return _CONNECTION_FIELDS.intersection(fields) | named


def _without(raw: bytes, dropped: frozenset[bytes]) -> bytes:
    """The head without the named fields (lower case)."""
    lines = raw[: -len(END)].split(b"\r\n")
    kept = [line for line in lines[1:] if line.partition(b":")[0].lower() not in dropped]
    return b"\r\n".join([lines[0], *kept]) + END


# ------------------------------------------------------------------------------------------------ requests


def validate_request(raw: bytes) -> tuple[bytes, Found]:
    """First line, and the fields that matter, of a head that ends with the empty line.

    Raises:
        BadMessage: malformed.
    """
    line = raw[: raw.index(b"\r\n")]
    if not _REQUEST_LINE.fullmatch(line):
        raise BadMessage("the first line is not 'METHOD target HTTP/1.1'")
    return line, _validated(httptools.HttpRequestParser(None), raw)


def interpret_request(line: bytes, found: Found) -> RequestHead:
    """What a validated request asks for.

    Raises:
        BadMessage: ambiguous, or not for a reverse proxy.
    """
    method, target, protocol = line.split(b" ")
    version, fields = protocol[5:], _fields(found)
    if method == b"CONNECT":
        raise BadMessage("CONNECT is for forward proxies", 501)
    host = fields.get(b"host")
    if host is None and version == b"1.1":
        raise BadMessage("HTTP/1.1 needs a Host field")
    if host is not None and b"," in host:
        raise BadMessage("more than one Host field")
    length, chunked = _framing(fields, version)
    connection = _tokens(fields.get(b"connection"))
    dropped, upgrade = _hop_by_hop(fields, connection), False
    if version == b"1.1" and b"upgrade" in connection:
        if {b"h2c", b"h2"} & _tokens(fields.get(b"upgrade")):
            dropped |= {b"upgrade"}  # every later request would pass in HTTP/2, unmeasured
        else:
            dropped, upgrade = dropped - {b"connection"}, True
    elif version == b"1.1" and connection == _KEEP_ALIVE:
        dropped -= {b"connection"}  # says nothing new: left in, the head can be passed on as it came
    return RequestHead(
        method=method,
        target=target,
        version=version,
        length=None if chunked else length or 0,
        chunked=chunked,
        keep_alive=b"close" not in connection and (version == b"1.1" or b"keep-alive" in connection),
        upgrade=upgrade,
        repeatable=method in _SAFE_TO_REPEAT,
        dropped=dropped,
    )


# ------------------------------------------------------------------------------------------------- answers


def validate_response(raw: bytes) -> tuple[bytes, Found]:
    """First line, and the fields that matter, of a head that ends with the empty line.

    Raises:
        BadMessage: malformed.
    """
    line = raw[: raw.index(b"\r\n")]
    if not _STATUS_LINE.fullmatch(line):
        raise BadMessage("the first line is not 'HTTP/1.1 200 reason'")
    return line, _validated(httptools.HttpResponseParser(None), raw)


def interpret_response(line: bytes, found: Found, *, of_head: bool = False) -> ResponseHead:
    """What a validated answer says; `of_head`: to a HEAD request.

    Raises:
        BadMessage: ambiguous.
    """
    version, status, fields = line[5:8], int(line[9:12]), _fields(found)
    length, chunked = _framing(fields, version)
    if of_head or status < 200 or status in {204, 304}:
        length, chunked = 0, False  # whatever the fields say (RFC 9112, 6.3)
    connection = _tokens(fields.get(b"connection"))
    dropped = _NOTHING if status == 101 else _hop_by_hop(fields, connection)
    if version == b"1.1" and connection == _KEEP_ALIVE:
        dropped -= {b"connection"}
    stays = version == b"1.1" or b"keep-alive" in connection
    until_close = length is None and not chunked
    return ResponseHead(
        status=status,
        version=version,
        length=length,
        chunked=chunked,
        until_close=until_close,
        keep_alive=stays and b"close" not in connection and not until_close,
        event_stream=fields.get(b"content-type", b"").lower().startswith(b"text/event-stream"),
        dropped=dropped,
    )


# ---------------------------------------------------------------------------------------------------- memo

Head = TypeVar("Head")
Key = TypeVar("Key")


class Memo(Generic[Head]):
    """Remembers heads: by all their bytes, as clients and servers repeat themselves; and by what matters in
    them, as a trace identifier or a date makes each new to the last byte.

    Bounded in entries and in bytes. Forgetting everything when full is cheap, and harmless.
    """

    __slots__ = ("_by_bytes", "_by_meaning", "_interpret", "_validate", "get")

    ENTRIES = 512
    LONGEST = 2048

    def __init__(
        self, validate: Callable[[bytes], tuple[bytes, Found]], interpret: Callable[[bytes, Found], Head]
    ) -> None:
        self._validate = validate
        self._interpret = interpret
        self._by_bytes: dict[bytes, Head] = {}
        self._by_meaning: dict[tuple[object, ...], Head] = {}
        self.get = self._by_bytes.get

    def learn(self, raw: bytes) -> Head:
        """The head of bytes that `get` does not know.

        Raises:
            BadMessage: nothing of it is remembered.
        """
        line, found = self._validate(raw)
        meaning = (line, *found)
        head = self._by_meaning.get(meaning)
        if head is None:
            head = self._interpret(line, found)
            self._keep(self._by_meaning, meaning, head, raw)
        self._keep(self._by_bytes, raw, head, raw)
        return head

    def _keep(self, known: dict[Key, Head], key: Key, head: Head, raw: bytes) -> None:
        if len(raw) <= self.LONGEST:
            if len(known) >= self.ENTRIES:
                known.clear()
            known[key] = head
