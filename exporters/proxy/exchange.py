"""One request and its answer: admitted, sent upstream, answered, measured.

    Client ── Exchange ── Upstream

The pool, the admission queue and the meter stand behind the exchange. It ends exactly once, in `_end`: with
the last byte sent, with an answer of the proxy's own, or cut off.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from exporters import names
from exporters.meter import outcome_of
from exporters.proxy.admission import Entry
from exporters.proxy.replies import CLOSED, QUEUE_FULL, Refusal, reply
from exporters.trace import trace_of_request

if TYPE_CHECKING:
    from exporters.proxy.client import Client
    from exporters.proxy.heads import RequestHead, ResponseHead
    from exporters.proxy.server import Proxy, Request
    from exporters.proxy.streams import StreamWatch
    from exporters.proxy.upstream import Upstream


class Phase(IntEnum):
    """Where an exchange stands."""

    WAITING = 0  # for its turn
    CONNECTING = 1
    EXECUTING = 2  # the model server has it, or is getting it
    FLUSHING = 3  # answered; the client has not taken the last bytes
    ENDED = 4


class Exchange:
    """See the module. `first` is what goes out first: the head with the body bytes that came with it."""

    __slots__ = (
        "_first",
        "_proxy",
        "_retried",
        "_unsent",
        "answered",
        "arrival",
        "client",
        "meter",
        "outcome",
        "phase",
        "request",
        "start",
        "tells_tokens",
        "upstream",
        "watch",
    )

    def __init__(self, proxy: Proxy, client: Client, request: Request, first: bytes, unsent: bool) -> None:
        self._proxy = proxy
        self.client = client
        self.request: RequestHead = request.head
        self.meter = request.meter
        self.tells_tokens = request.tells_tokens
        self._first: bytes | None = first  # kept as long as the request could be sent once more
        self._unsent = unsent  # no byte of the body is in `first`, and there is a body
        self._retried = False
        self.upstream: Upstream | None = None
        self.answered = False  # a byte of the answer is on its way to the client
        self.outcome = names.OK
        self.watch: StreamWatch | None = None
        self.phase = Phase.WAITING
        self.arrival = self.start = proxy.now()

    # ------------------------------------------------------------------------------------------ forward

    def begin(self) -> None:
        """Ask for a place."""
        entry = self._proxy.admission.enter(self)
        if entry is Entry.ADMITTED:
            self._execute()
        elif entry is Entry.QUEUED:
            self.meter.waiting.enter(self.arrival)
            self.client.hold()
        else:
            self._refuse(QUEUE_FULL)
            self._end(names.REJECTED)

    def admitted(self) -> None:
        """The turn has come, after waiting."""
        self.start = self._proxy.now()
        self.meter.waiting.leave(self.start)
        self._execute()

    def _execute(self) -> None:
        self.meter.begin(self.arrival, self.start)
        upstream = self._proxy.pool.take()
        if upstream is None:
            self._open()
        else:
            self._send(upstream)

    def _open(self) -> None:
        self.phase = Phase.CONNECTING
        self.client.hold()
        self._proxy.pool.open_for(self)

    def connected(self, upstream: Upstream) -> None:
        """A new connection for this exchange; it may have ended in the meantime."""
        if self.phase is Phase.CONNECTING:
            self._send(upstream)
        else:
            self._proxy.pool.put(upstream)

    def _send(self, upstream: Upstream) -> None:
        assert self._first is not None
        self.upstream = upstream
        self.phase = Phase.EXECUTING
        self.client.release()  # before sending: the server may at once be slow to take the body
        upstream.send(self, self._first)

    def send_more(self, data: bytes) -> None:
        """A further part of the request's body."""
        self._first = None
        if self.upstream is not None:
            self.upstream.write(data)

    # ------------------------------------------------------------------------------------------- answer

    def answer_head(self, head: ResponseHead, raw: bytes) -> bytes:
        """What to send to the client for the final head: `raw` itself where that can be passed on."""
        self.answered = True
        self._first = None
        status = head.status
        if status >= 400:
            self.outcome = outcome_of(status)
        client = self.client
        if head.until_close or client.must_close(self.request):
            client.closing = True
            return head.closing(raw)
        if self.request.version == b"1.0":
            return head.keeping(raw)
        return head.forward(raw)

    def answer_complete(self) -> None:
        """The last byte of the answer was handed to the client's socket, or waits before it."""
        self.upstream = None
        if self.client.blocked:
            self.phase = Phase.FLUSHING
        else:
            self._end(self.outcome)

    def flushed(self) -> None:
        """The client has taken what waited."""
        if self.phase is Phase.FLUSHING:
            self._end(self.outcome)

    def switched(self) -> None:
        """101: from here on the connection is the two sides' own, and the request has had its answer."""
        self._end(names.OK)

    # ------------------------------------------------------------------------------------------ failure

    def upstream_lost(self, *, fresh: bool) -> None:
        """The connection ended before the answer did; `fresh`: it was opened for this exchange."""
        self.upstream = None
        if self.answered:
            self.outcome = names.SERVER_ERROR
            self.client.cut()
            self._end(names.SERVER_ERROR)
            return
        # A server may close an idle connection in the very moment in which it is used again.
        repeatable = self._first is not None and (self.request.repeatable or self._unsent)
        if not fresh and repeatable and not self._retried:
            self._retried = True
            self._proxy.count("retried")
            self._open()
        else:
            self.fail(CLOSED)

    def fail(self, refusal: Refusal) -> None:
        """Answer in the server's place, or cut an answer that has begun."""
        if self.phase is Phase.ENDED:
            return
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.abandon()
        if self.answered:
            self.client.cut()
        else:
            self._refuse(refusal)
        self._end(refusal.outcome)

    def client_gone(self) -> None:
        """The client left: what it asked for need not be computed."""
        if self.phase is Phase.ENDED:
            return
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.abandon()
        self._end(names.CANCELLED)

    def _refuse(self, refusal: Refusal) -> None:
        client = self.client
        self._proxy.count(refusal.reason)
        if refusal.status == 408 or client.must_close(self.request):
            client.closing = True
        client.write(reply(refusal, close=client.closing, without_body=self.request.method == b"HEAD"))

    # ---------------------------------------------------------------------------------------------- end

    def _end(self, outcome: int) -> None:
        phase, self.phase = self.phase, Phase.ENDED
        proxy, meter, now = self._proxy, self.meter, self._proxy.now()
        tokens = self.watch.close() if self.watch is not None else 0
        if phase is Phase.WAITING:
            if self._leave_queue():
                meter.waiting.leave(now)
            meter.refuse(self.arrival, now, outcome)
        else:
            meter.finish(self.arrival, self.start, now, outcome, tokens)
            following = proxy.admission.leave()
            if following is not None:
                following.admitted()
        self.client.exchange_ended()

    def _leave_queue(self) -> bool:
        try:
            self._proxy.admission.abandon(self)
        except KeyError:  # turned away at once
            return False
        return True


class TracedExchange(Exchange):
    """Also tells the meter the trace of its request. A class of its own: without exemplars nobody asks."""

    __slots__ = ("_trace",)

    def __init__(self, proxy: Proxy, client: Client, request: Request, first: bytes, unsent: bool) -> None:
        super().__init__(proxy, client, request, first, unsent)
        self._trace = trace_of_request(first)

    def _end(self, outcome: int) -> None:
        if self._trace is not None:
            self.meter.trace(self._trace, outcome)
        super()._end(outcome)
