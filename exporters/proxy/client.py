"""The client's side of the wire: one protocol object for each connection, one exchange at a time."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import termios
from array import array
from enum import IntEnum
from typing import TYPE_CHECKING, cast

from exporters.proxy.chunked import Body, ChunkedBody, FixedBody
from exporters.proxy.exchange import Phase
from exporters.proxy.heads import END, BadMessage
from exporters.proxy.replies import (
    ANSWER_TIMEOUT,
    CLIENT_TIMEOUT,
    QUEUE_TIMEOUT,
    Refusal,
    bad_request,
    reply,
)

if TYPE_CHECKING:
    from exporters.proxy.exchange import Exchange
    from exporters.proxy.heads import RequestHead
    from exporters.proxy.server import Proxy
    from exporters.proxy.upstream import Upstream


class State(IntEnum):
    """What the next bytes from the client are."""

    HEAD = 0
    BODY = 1
    AHEAD = 2  # the request is complete: what comes belongs to the next one
    TUNNEL = 3
    DISCARD = 4  # answered and closing: read on, so that the client gets the answer and no reset


_MOST_AHEAD = 65536  # bytes of pipelined requests kept while one is answered


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes that the client has not acknowledged: ours, and those in the kernel's buffer."""
    waiting = array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
    return transport.get_write_buffer_size() + waiting[0]


class Client(asyncio.Protocol):
    """Reads requests, writes answers, keeps order."""

    __slots__ = (
        "_ahead",
        "_body",
        "_exchange",
        "_held",
        "_idle",
        "_proxy",
        "_state",
        "_transport",
        "_tunnel",
        "_unsent",
        "blocked",
        "closing",
        "moved",
        "write",
    )

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._state = State.HEAD
        self._exchange: Exchange | None = None
        self._body: Body | None = None
        self._ahead = b""  # an unfinished head, or pipelined requests
        self._tunnel: Upstream | None = None
        self._idle = 0.0
        self._unsent = 0
        self._held = False  # reading waits for the server or for the queue
        self.blocked = False  # the socket takes no more
        self.closing = False  # after this answer
        self.moved = True  # bytes passed, in either direction, since the last sweep

    @property
    def request_complete(self) -> bool:
        """Every byte of the current request was read."""
        return self._state == State.AHEAD

    def must_close(self, request: RequestHead) -> bool:
        """The connection ends with this answer."""
        return not request.keep_alive or self._state != State.AHEAD or self.closing or self._proxy.draining

    # ----------------------------------------------------------------------------------------- reading

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        state = self._state
        if state == State.HEAD:
            if self._ahead:
                data = self._ahead + data
                self._ahead = b""
            else:
                self.moved = True
            self._read_head(data)
            return
        self.moved = True
        if state == State.BODY:
            self._read_body(data)
        elif state == State.AHEAD:
            self._ahead += data
            if len(self._ahead) > _MOST_AHEAD:
                self._transport.pause_reading()
        elif state == State.TUNNEL and self._tunnel is not None:
            self._tunnel.write(data)

    def _read_head(self, data: bytes) -> None:
        proxy = self._proxy
        end = data.find(END) + 4
        if end < 4 or end > proxy.limits.head_bytes:
            self._partial_head(data)
            return
        raw = data[:end]
        try:
            request = proxy.requests.get(raw) or proxy.requests.learn(raw)
        except BadMessage as bad:
            if raw.startswith(b"\r\n"):
                self._skip_empty_lines(data)
            else:
                self._refuse(bad_request(bad.status, bad.reason))
            return
        head = request.head
        length = head.length
        if length is not None and len(data) - end == length:  # the whole request in one piece: the usual case
            self._state = State.AHEAD
            request.meter.request_bytes += length
            first = head.forward(raw) + data[end:] if head.dropped else data
            exchange = self._exchange = proxy.exchange(proxy, self, request, first, unsent=False)
            exchange.begin()
            return
        body = self._body = ChunkedBody() if length is None else FixedBody(length)
        self._state = State.BODY
        try:
            stop = body.take(data, end)
        except BadMessage as bad:
            self._refuse(bad_request(bad.status, bad.reason))
            return
        if body.done:
            self._state = State.AHEAD
            self._ahead = data[stop:]
        request.meter.request_bytes += body.payload
        exchange = self._exchange = proxy.exchange(
            proxy, self, request, head.forward(raw) + data[end:stop], unsent=stop == end
        )
        exchange.begin()

    def _skip_empty_lines(self, data: bytes) -> None:
        """RFC 9112, 2.2: an empty line before a request is passed over."""
        while data.startswith(b"\r\n"):
            data = data[2:]
        if data:
            self._read_head(data)

    def _partial_head(self, data: bytes) -> None:
        if data.startswith(b"\r\n"):
            self._skip_empty_lines(data)
        elif len(data) > self._proxy.limits.head_bytes:
            self._refuse(bad_request(431, "the head of the request is too long"))
        else:
            self._ahead = data

    def _read_body(self, data: bytes) -> None:
        exchange, body = self._exchange, self._body
        assert exchange is not None
        assert body is not None
        before = body.payload
        try:
            stop = body.take(data)
        except BadMessage as bad:
            exchange.fail(bad_request(bad.status, bad.reason))
            return
        exchange.meter.request_bytes += body.payload - before
        if body.done:
            self._state = State.AHEAD
            self._ahead = data[stop:]
        exchange.send_more(data if stop == len(data) else data[:stop])

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what never became a request, and close."""
        self._proxy.refused(refusal)
        self.write(reply(refusal, close=True))
        self._linger()

    # --------------------------------------------------------------------------------- for the exchange

    def hold(self) -> None:
        """Read no more of the body until `release`."""
        if self._state in {State.BODY, State.TUNNEL}:
            self._held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read on."""
        if self._held:
            self._held = False
            self.moved = True
            self._transport.resume_reading()

    def exchange_ended(self) -> None:
        """The next request may come."""
        self._exchange = None
        if self._state == State.TUNNEL:
            return
        if self._state == State.BODY or (self.closing and self._ahead):
            self._linger()
        elif self.closing or self._transport.is_closing():
            self._state = State.DISCARD
            self._transport.close()
        else:
            self._state = State.HEAD
            if self._ahead:
                asyncio.get_running_loop().call_soon(self._read_ahead)

    def _read_ahead(self) -> None:
        """The next of the pipelined requests."""
        data, self._ahead = self._ahead, b""
        if self._state == State.HEAD and not self._transport.is_closing():
            self._transport.resume_reading()
            self._read_head(data)

    def _linger(self) -> None:
        """Close, but read on for a while: a reset would take the answer from a client that still sends."""
        self._state = State.DISCARD
        self._ahead = b""
        self.moved = True
        transport = self._transport
        if transport.is_closing():
            return
        transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()

    def cut(self) -> None:
        """End the connection in the middle of an answer: the client can see that it is not whole."""
        self.closing = True
        self._state = State.AHEAD
        self._transport.close()

    def turn_away(self, refusal: Refusal) -> None:
        """Answer before anything is read, and close."""
        self._refuse(refusal)

    def drain(self) -> None:
        """Close when nothing is being asked."""
        if self._state == State.HEAD and not self._ahead:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def become_tunnel(self, upstream: Upstream) -> None:
        """Both sides have switched to another protocol."""
        self._state = State.TUNNEL
        self._tunnel = upstream
        self._transport.resume_reading()
        if self._ahead:
            upstream.write(self._ahead)
            self._ahead = b""

    def finish_tunnel(self) -> None:
        """The server has sent its last byte."""
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def close_tunnel(self) -> None:
        """The other side is gone."""
        self._tunnel = None
        self._transport.close()

    # --------------------------------------------------------------------------------------- time limits

    def sweep(self, elapsed: float) -> None:
        """Called every `elapsed` seconds: a timer for each request would cost more than its metrics."""
        if self.blocked:
            unsent = _unsent(self._transport)
            self.moved |= unsent != self._unsent  # slowly, but taken
            self._unsent = unsent
        if self.moved:
            self.moved = False
            self._idle = 0.0
            return
        self._idle += elapsed
        limits, exchange, state = self._proxy.limits, self._exchange, self._state
        if exchange is not None:
            self._sweep_exchange(exchange)
        elif state == State.HEAD and self._ahead:
            if self._idle >= limits.head_seconds:
                self._refuse(CLIENT_TIMEOUT)
        elif state == State.HEAD:
            if self._idle >= limits.keep_alive_seconds:
                self._transport.close()
        elif state == State.DISCARD:
            sending = self._transport.get_write_buffer_size()
            if self._idle >= (limits.client_seconds if sending else limits.linger_seconds):
                self._transport.abort()
        elif self._idle >= limits.tunnel_seconds:
            self._transport.abort()

    def _sweep_exchange(self, exchange: Exchange) -> None:
        limits, idle = self._proxy.limits, self._idle
        if self.blocked:
            if idle >= limits.client_seconds:
                self._transport.abort()  # takes nothing: counted as gone
        elif exchange.phase is Phase.WAITING:
            if idle >= limits.answer_seconds:
                exchange.fail(QUEUE_TIMEOUT)
        elif self._state == State.BODY and not self._held:
            if idle >= limits.client_seconds:
                exchange.fail(CLIENT_TIMEOUT)
        elif idle >= limits.answer_seconds:
            exchange.fail(ANSWER_TIMEOUT)

    # ---------------------------------------------------------------------------------- of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        self._transport = cast("asyncio.Transport", transport)
        self.write = self._transport.write
        self._proxy.opened(self)

    def pause_writing(self) -> None:
        """The client does not take the answer as fast as it comes."""
        self.blocked = True
        upstream = self._tunnel or (self._exchange and self._exchange.upstream)
        if upstream:
            upstream.pause()

    def resume_writing(self) -> None:
        """It takes again."""
        self.blocked = False
        self.moved = True
        upstream = self._tunnel or (self._exchange and self._exchange.upstream)
        if upstream:
            upstream.resume()
        elif self._exchange is not None:
            self._exchange.flushed()

    def eof_received(self) -> bool:
        """The client has sent its last byte: to us it is gone, as to nginx and Envoy."""
        if self._tunnel is not None:
            self._tunnel.finish_tunnel()
            return True
        if self._exchange is not None:
            self._exchange.client_gone()
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """Gone, or closed by us."""
        self._proxy.closed(self)
        if self._tunnel is not None:
            tunnel, self._tunnel = self._tunnel, None
            tunnel.close()
        if self._exchange is not None:
            self._exchange.client_gone()
