"""The model server's side of the wire: one protocol object for each connection."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from exporters.proxy.chunked import Body, ChunkedBody, FixedBody, UntilCloseBody
from exporters.proxy.heads import END, BadMessage, interpret_response, validate_response
from exporters.proxy.replies import BAD_ANSWER
from exporters.proxy.streams import watch_for

if TYPE_CHECKING:
    from exporters.proxy.client import Client
    from exporters.proxy.exchange import Exchange
    from exporters.proxy.heads import ResponseHead
    from exporters.proxy.server import Proxy


_log = logging.getLogger(__name__)
_MOST_INTERIMS = 50  # 1xx answers before the final one


class Upstream(asyncio.Protocol):
    """Sends one request at a time, reads its answer, and goes back to the pool."""

    __slots__ = (
        "_body",
        "_exchange",
        "_fresh",
        "_head",
        "_interims",
        "_partial",
        "_proxy",
        "_transport",
        "_tunnel",
        "_write",
        "idle_seconds",
    )

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._exchange: Exchange | None = None
        self._head: ResponseHead | None = None
        self._body: Body | None = None
        self._partial = b""  # of a head that is not complete yet
        self._tunnel: Client | None = None
        self._fresh = True
        self.idle_seconds = 0.0

    # ----------------------------------------------------------------------------------------- sending

    def send(self, exchange: Exchange, data: bytes) -> None:
        """The head of a request, with the body bytes that are there."""
        self._exchange = exchange
        self._interims = 0
        self._write(data)

    def write(self, data: bytes) -> None:
        """More of the body, or of a tunnel."""
        self._write(data)

    def pause(self) -> None:
        """The client does not take what is answered."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """The client takes again."""
        self._transport.resume_reading()

    def abandon(self) -> None:
        """Nobody waits for the answer any more: the server sees the connection end."""
        self._exchange = None
        self._proxy.pool.drop()
        self._transport.abort()

    def rest(self) -> None:
        """Wait in the pool; from here on the server may close it at any moment."""
        self.idle_seconds = 0.0
        self._fresh = False

    def close(self) -> None:
        """An idle connection is not needed."""
        self._transport.close()

    def finish_tunnel(self) -> None:
        """The client has sent its last byte."""
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # ----------------------------------------------------------------------------------------- reading

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        exchange = self._exchange
        if exchange is None:
            if self._tunnel is not None:
                self._tunnel.write(data)
            else:
                self._proxy.pool.forget(self)  # it speaks before it is asked
                self._transport.abort()
            return
        exchange.client.moved = True
        try:
            if self._body is None:
                self._read_head(exchange, data)
            else:
                self._read_body(exchange, self._body, data)
        except BadMessage as bad:
            _log.debug("an answer of the model server is refused: %s", bad.reason)
            exchange.fail(BAD_ANSWER)

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        if self._partial:
            data, self._partial = self._partial + data, b""
        proxy = self._proxy
        end = data.find(END) + 4
        if end < 4 or end > proxy.limits.head_bytes:
            if len(data) > proxy.limits.head_bytes:
                raise BadMessage("head too long")
            self._partial = data
            return
        raw = data[:end]
        if exchange.request.method == b"HEAD":
            head = interpret_response(*validate_response(raw), of_head=True)
        else:
            head = proxy.responses.get(raw) or proxy.responses.learn(raw)
        if head.status < 200:
            self._interim(exchange, head, data, end)
            return
        out = exchange.answer_head(head, raw)
        length = head.length
        if exchange.tells_tokens or length is None:
            exchange.watch = watch_for(
                head, exchange.meter, exchange.arrival, tells_tokens=exchange.tells_tokens
            )
        if length is not None and len(data) - end == length:  # the whole answer in one piece: the usual case
            exchange.meter.response_bytes += length
            exchange.client.write(data if out is raw else out + data[end:])
            if exchange.watch is not None:
                exchange.watch.feed(data[end:], proxy.now(), 0)
            self._complete(exchange, head, keep=True)
            return
        self._head = head
        if head.chunked:
            self._body = ChunkedBody()
        elif length is None:
            self._body = UntilCloseBody()
        else:
            self._body = FixedBody(length)
        self._read_body(exchange, self._body, data, end, out)

    def _interim(self, exchange: Exchange, head: ResponseHead, data: bytes, end: int) -> None:
        if head.status == 101:
            self._switch(exchange, data)
            return
        self._interims += 1
        if self._interims > _MOST_INTERIMS:
            raise BadMessage("interim answers without end")
        if exchange.request.version != b"1.0":
            exchange.client.write(head.forward(data[:end]))
        if end < len(data):
            self._read_head(exchange, data[end:])

    def _read_body(self, exchange: Exchange, body: Body, data: bytes, at: int = 0, out: bytes = b"") -> None:
        before, chunks = body.payload, body.chunks
        stop = body.take(data, at)
        part = data if not at and stop == len(data) else data[at:stop]
        exchange.meter.response_bytes += body.payload - before
        exchange.client.write(out + part if out else part)
        if exchange.watch is not None:
            exchange.watch.feed(part, self._proxy.now(), body.chunks - chunks)
        if body.done:
            assert self._head is not None
            self._complete(exchange, self._head, keep=stop == len(data))

    def _complete(self, exchange: Exchange, head: ResponseHead, *, keep: bool) -> None:
        """The answer is over; `keep` False: the server said more than it should have."""
        self._exchange = self._head = self._body = None
        pool = self._proxy.pool
        client = exchange.client
        if not client.request_complete:  # nobody waits for what it would say to the rest
            pool.drop()
            self._transport.abort()
        elif keep and head.keep_alive and exchange.request.version == b"1.1":
            if client.blocked:
                self._transport.resume_reading()
            pool.put(self)
        else:
            pool.drop()
            self._transport.close()
        exchange.answer_complete()

    def _switch(self, exchange: Exchange, data: bytes) -> None:
        if not exchange.request.upgrade:
            raise BadMessage("101 without having been asked to switch")
        self._exchange = None
        self._tunnel = client = exchange.client
        self._proxy.pool.drop()
        client.write(data)
        exchange.upstream = None
        client.become_tunnel(self)
        exchange.switched()

    # ---------------------------------------------------------------------------------- of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write

    def pause_writing(self) -> None:
        """The server does not take the body as fast as it comes."""
        client = self._tunnel or (self._exchange and self._exchange.client)
        if client:
            client.hold()

    def resume_writing(self) -> None:
        """It takes again."""
        client = self._tunnel or (self._exchange and self._exchange.client)
        if client:
            client.release()

    def eof_received(self) -> bool:
        """The server has sent its last byte on this connection."""
        if self._tunnel is not None:
            self._tunnel.finish_tunnel()
            return True
        self._lost(whole=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, or closed by us."""
        if self._tunnel is not None:
            tunnel, self._tunnel = self._tunnel, None
            tunnel.close_tunnel()
            return
        self._lost(whole=exc is None)

    def _lost(self, *, whole: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self._proxy.pool.forget(self)
            return
        pool = self._proxy.pool
        pool.drop()
        if whole and isinstance(self._body, UntilCloseBody):
            self._body = None
            exchange.answer_complete()
        else:
            exchange.upstream_lost(fresh=self._fresh)
