"""Where a body ends, and how much of it is payload. Pure; the bytes themselves are passed on unchanged.

Chunked bodies are read more strictly than RFC 9112, 7.1 asks: no whitespace around sizes or extensions,
no bare LF. What one parser forgives and the next does not is how requests are smuggled.
"""

from __future__ import annotations

import re

from exporters.proxy.heads import BadMessage

_LONGEST_LINE = 4096  # of a chunk's size with its extension
_LONGEST_TRAILER = 16384
_LARGEST_CHUNK = 1 << 60
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
)
_TRAILER_LINE = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")
_FORBIDDEN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection"})

_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class ChunkedBody:
    """Follows one chunked body across reads.

    `done`: the last byte was seen; `payload`: bytes of data so far; `chunks`: data chunks begun so far.
    """

    __slots__ = ("_left", "_line", "_state", "_trailer", "chunks", "payload")

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0
        self._line = b""  # of a line that has not ended yet
        self._trailer = 0
        self.payload = 0
        self.chunks = 0

    @property
    def done(self) -> bool:
        """The body is complete."""
        return self._state == _DONE

    def take(self, data: bytes, at: int = 0) -> int:
        """Follow `data` from `at` on; the index just behind the body, or len(data) when more is to come.

        Raises:
            BadMessage: not chunked as it should be.
        """
        end = len(data)
        while at < end and self._state != _DONE:
            if self._state == _DATA:
                step = min(self._left, end - at)
                at += step
                self._left -= step
                self.payload += step
                if not self._left:
                    self._state = _DATA_END
                continue
            stop = data.find(b"\n", at)
            if stop < 0:
                self._keep(data[at:])
                return end
            line = self._line + data[at : stop + 1]
            self._line = b""
            at = stop + 1
            if not line.endswith(b"\r\n"):
                raise BadMessage("a line of a chunked body ends without CR LF")
            self._on_line(line[:-2])
        return at

    def _keep(self, part: bytes) -> None:
        self._line += part
        if self._state == _DATA_END and not b"\r\n".startswith(self._line):
            raise BadMessage("a chunk is longer than its size says")
        if len(self._line) > _LONGEST_LINE:
            raise BadMessage("a line of a chunked body is too long")

    def _on_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None or len(line) > _LONGEST_LINE:
                raise BadMessage("not the size of a chunk")
            self._left = int(match[1], 16)
            if self._left > _LARGEST_CHUNK:
                raise BadMessage("a chunk too large to be true")
            self._state = _DATA if self._left else _TRAILER
            self.chunks += bool(self._left)
        elif self._state == _DATA_END:
            if line:
                raise BadMessage("a chunk is longer than its size says")
            self._state = _SIZE
        elif not line:
            self._state = _DONE
        else:
            self._trailer += len(line)
            if self._trailer > _LONGEST_TRAILER:
                raise BadMessage("trailers too long", 431)
            name = line.partition(b":")[0].lower()
            if not _TRAILER_LINE.fullmatch(line) or name in _FORBIDDEN_TRAILERS:
                raise BadMessage("not a trailer field")


class FixedBody:
    """Follows a body of known length; the same face as `ChunkedBody`."""

    __slots__ = ("_left", "payload")

    chunks = 0

    def __init__(self, length: int) -> None:
        self._left = length
        self.payload = 0

    @property
    def done(self) -> bool:
        """The body is complete."""
        return not self._left

    def take(self, data: bytes, at: int = 0) -> int:
        """The index just behind the body, or len(data) when more is to come."""
        step = min(self._left, len(data) - at)
        self._left -= step
        self.payload += step
        return at + step


class UntilCloseBody:
    """A body that ends with the connection; the same face as `ChunkedBody`."""

    __slots__ = ("payload",)

    chunks = 0
    done = False

    def __init__(self) -> None:
        self.payload = 0

    def take(self, data: bytes, at: int = 0) -> int:
        """Everything."""
        self.payload += len(data) - at
        return len(data)


Body = FixedBody | ChunkedBody | UntilCloseBody
