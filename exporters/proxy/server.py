"""The proxy as a whole: what its connections share, the listening socket, time limits, draining."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from exporters import names
from exporters.meter import Meter, ModelMeter
from exporters.proxy.admission import Admission
from exporters.proxy.client import Client
from exporters.proxy.exchange import Exchange, TracedExchange
from exporters.proxy.heads import (
    Found,
    Memo,
    RequestHead,
    interpret_request,
    interpret_response,
    validate_request,
    validate_response,
)
from exporters.proxy.pool import Pool
from exporters.proxy.replies import TOO_MANY_CONNECTIONS, Refusal
from exporters.proxy.routes import model_in_path, tells_tokens
from exporters.proxy.upstream import Upstream
from exporters.samples import Measured, Sample


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client or one server may take of the proxy. Times in s, watched every quarter of a second."""

    head_bytes: int = 65536
    connections: int = 10_000
    connect_seconds: float = 5.0
    answer_seconds: float = 300.0  # to the head of the answer, and between two parts of it
    client_seconds: float = 60.0  # between two parts of a request's body, or of an answer taken
    head_seconds: float = 10.0  # for the whole head of a request
    keep_alive_seconds: float = 75.0  # between two requests
    upstream_idle_seconds: float = 1.5  # gunicorn closes after 2 s, uvicorn and Node after 5 s: be first
    tunnel_seconds: float = 3600.0
    linger_seconds: float = 2.0


class Request(NamedTuple):
    """What is known of a request by its head."""

    head: RequestHead
    meter: ModelMeter
    tells_tokens: bool


class Proxy:
    """Listens, and holds what its connections share. `address` is that of the model server."""

    def __init__(
        self,
        meter: Meter,
        address: tuple[str, int],
        *,
        max_in_flight: int | None = None,
        max_queue: int = 0,
        limits: Limits | None = None,
    ) -> None:
        self.name = meter.name
        self.meter = meter
        self.now = meter.now
        self.exchange = TracedExchange if meter.exemplars else Exchange
        self.limits = limits or Limits()
        self.admission: Admission[Exchange] = Admission(max_in_flight, max_queue)
        self.pool = Pool(address, self.limits.connect_seconds, lambda: Upstream(self))
        self.requests = Memo(validate_request, self._request)
        self.responses = Memo(validate_response, interpret_response)
        self.draining = False
        self._clients: set[Client] = set()
        self._failures: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()

    def _request(self, line: bytes, found: Found) -> Request:
        head = interpret_request(line, found)
        meter = self.meter.default
        if self.meter.several:
            meter = self.meter.model(model_in_path(head.target) or "")
        return Request(head, meter, tells_tokens(head.target))

    # ----------------------------------------------------------------------------------- for connections

    def opened(self, client: Client) -> None:
        """A client has connected."""
        self._clients.add(client)
        if len(self._clients) > self.limits.connections:
            client.turn_away(TOO_MANY_CONNECTIONS)

    def closed(self, client: Client) -> None:
        """A client has gone."""
        self._clients.discard(client)
        if not self._clients:
            self._emptied.set()

    def refused(self, refusal: Refusal) -> None:
        """Something was answered that never became a request."""
        self.count(refusal.reason)
        now = self.now()
        self.meter.default.refuse(now, now, refusal.outcome)

    def count(self, reason: str) -> None:
        """One more of the proxy's own answers, or a retry."""
        self._failures[reason] += 1

    # ---------------------------------------------------------------------------------------------- life

    @property
    def port(self) -> int:
        """Where it listens, which differs from what was asked for when that was 0."""
        return self._port

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Client(self), host, port, backlog=2048)
        self._sweep()
        self._port = int(self._server.sockets[0].getsockname()[1])

    def _sweep(self) -> None:
        limits = self.limits
        every = min(0.25, limits.answer_seconds / 4, limits.client_seconds / 4, limits.head_seconds / 4)
        for client in list(self._clients):
            client.sweep(every)
        self.pool.sweep(every, limits.upstream_idle_seconds)
        self._sweeper = asyncio.get_running_loop().call_later(every, self._sweep)

    async def drain(self, seconds: float) -> bool:
        """Accept no more, finish what is in flight for at most `seconds`; whether everything was finished."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.drain()
        self._emptied.clear()
        finished = True
        if self._clients:
            try:
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
            except TimeoutError:
                finished = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        for client in list(self._clients):
            client.abort()
        await self.pool.close()
        return finished

    # ------------------------------------------------------------------------------------------- numbers

    @property
    def in_flight(self) -> int:
        """Executing and waiting."""
        return self.admission.inside + self.admission.waiting

    def collect(self) -> Iterator[Measured]:
        """The proxy's own series, beside those of its meter."""
        yield from self.meter.collect()
        for reason, count in sorted(self._failures.copy().items()):
            yield Sample(names.PROXY_FAILURES, (reason,), count)
        yield Sample(names.PROXY_CONNECTIONS, ("client",), len(self._clients))
        yield Sample(names.PROXY_CONNECTIONS, ("upstream_in_use",), self.pool.in_use)
        yield Sample(names.PROXY_CONNECTIONS, ("upstream_idle",), self.pool.idle)
