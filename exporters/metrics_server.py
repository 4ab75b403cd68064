"""`/metrics`, `/healthz`, `/readyz`, `/events` on a port of their own, beside the requests.

One thread runs a small event loop and answers; a second one reads the sources, which may block for a while.
So no scrape stands in the way of a request, and no slow source in the way of a health check.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop

from exporters import names
from exporters.collectors import Collectors
from exporters.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition, negotiate
from exporters.ring import MOST_ROWS

_log = logging.getLogger(__name__)
Events = Callable[[int, int], bytes]
_PLAIN = "text/plain; charset=utf-8"
_PATHS = f"{names.METRICS_PATH}, {names.HEALTH_PATH}, {names.READY_PATH}, {names.EVENTS_PATH}?since=0"
_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 120.0
_MOST_HEAD = 65536


class Asked(NamedTuple):
    """One request to the metrics port."""

    method: bytes
    target: str
    accept: str
    keep_alive: bool


class Answer(NamedTuple):
    """What it gets."""

    status: HTTPStatus
    content_type: str
    body: bytes


class MetricsServer:
    """Serves `collectors` on `host`:`port` (0: any free one) once `start` was called.

    `ready` tells whether traffic should come; `events(since, limit)` is the document of `exporters.ring`, or
    None without a proxy.

    Raises:
        OSError: the address cannot be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        collectors: Collectors,
        *,
        ready: Callable[[], bool],
        events: Events | None = None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=64)
        self._ready = ready
        self._events = events
        self._collectors = collectors
        self._exposition = Exposition()
        self._loop = uvloop.new_event_loop()
        self._over = self._loop.create_future()  # unlike loop.stop(), it may be told before anyone waits
        self._reader = ThreadPoolExecutor(1, "sources")
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self.connections: set[_Connection] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set_result, None)
            self._thread.join()
        self._reader.shutdown()
        self._loop.close()
        self._socket.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), sock=self._socket)
        )
        self._loop.run_until_complete(self._over)
        server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0.01))  # connections end in the loop's next rounds

    # ------------------------------------------------------------------------------------------- answers

    async def answer(self, asked: Asked) -> Answer:
        """Whatever happens, an answer."""
        if asked.method not in {b"GET", b"HEAD"}:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, b"only GET and HEAD\n")
        try:
            return await self._answer(asked)
        except Exception:  # noqa: BLE001 - a bug of ours must not look like a hanging exporter
            _log.exception("%s could not be answered", asked.target)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, _PLAIN, b"the exporter's log says why\n")

    async def _answer(self, asked: Asked) -> Answer:
        url = urlsplit(asked.target)
        if url.path == names.METRICS_PATH:
            return await self._aside(self._metrics, negotiate(asked.accept))
        if url.path == names.EVENTS_PATH:
            return await self._aside(self._answer_events, url.query)
        if url.path == names.HEALTH_PATH:
            return Answer(HTTPStatus.OK, _PLAIN, b"ok\n")
        if url.path == names.READY_PATH:
            if self._ready():
                return Answer(HTTPStatus.OK, _PLAIN, b"ready\n")
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, b"draining: send no more requests\n")
        return Answer(HTTPStatus.NOT_FOUND, _PLAIN, f"not found; there are {_PATHS}\n".encode())

    async def _aside(self, function: Callable[..., Answer], argument: object) -> Answer:
        answer: Answer = await self._loop.run_in_executor(self._reader, function, argument)
        return answer

    def _metrics(self, openmetrics: bool) -> Answer:
        body = self._exposition.render(self._collectors.read(), openmetrics=openmetrics)
        return Answer(HTTPStatus.OK, OPENMETRICS_TYPE if openmetrics else TEXT_TYPE, body)

    def _answer_events(self, query: str) -> Answer:
        if self._events is None:
            return Answer(HTTPStatus.NOT_FOUND, _PLAIN, b"no events: this exporter runs without a proxy\n")
        asked = parse_qs(query)
        try:
            since = int(asked.get("since", ["0"])[0])
            limit = int(asked.get("limit", [str(MOST_ROWS)])[0])
        except ValueError:
            since = limit = -1
        if since < 0 or limit < 1:
            text = b"since and limit are whole numbers: /events?since=0&limit=1000\n"
            return Answer(HTTPStatus.BAD_REQUEST, _PLAIN, text)
        return Answer(HTTPStatus.OK, "application/json", self._events(since, min(limit, MOST_ROWS)))


class _Connection(asyncio.Protocol):
    """Of one scraper. Requests are answered one after the other; their bodies, if any, are passed over."""

    def __init__(self, server: MetricsServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._accept: list[str] = []
        self._head = 0
        self._waiting: list[Asked] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------- of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if len(self._server.connections) >= _MOST_CONNECTIONS:
            self.transport.abort()
            return
        self._server.connections.add(self)
        self._watch()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        """From now on `_IDLE_SECONDS` without a byte are too many."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        self._watch()
        self._head += len(data)
        try:
            if self._head > _MOST_HEAD:
                raise httptools.HttpParserError("head too long")
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._send(Answer(HTTPStatus.BAD_REQUEST, _PLAIN, b"not an HTTP request\n"), keep=False)

    # -------------------------------------------------------------------------------------- of the parser

    def on_message_begin(self) -> None:
        self._target, self._accept = b"", []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"accept":
            self._accept.append(value.decode("latin-1"))

    def on_message_complete(self) -> None:
        self._head = 0
        self._waiting.append(
            Asked(
                self._parser.get_method(),
                self._target.decode("latin-1"),
                ",".join(self._accept),
                self._parser.should_keep_alive(),
            )
        )
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer_all())

    async def _answer_all(self) -> None:
        while self._waiting:
            asked = self._waiting.pop(0)
            answer = await self._server.answer(asked)
            self._send(answer, keep=asked.keep_alive, with_body=asked.method != b"HEAD")
        self._task = None

    def _send(self, answer: Answer, *, keep: bool, with_body: bool = True) -> None:
        if self.transport.is_closing():  # a scraper that did not wait
            return
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "Cache-Control: no-store",
            *([] if keep else ["Connection: close"]),
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        self.transport.write(head + answer.body if with_body else head)
        if not keep:
            self.transport.close()
