"""Measuring from inside: an ASGI middleware for Python servers that a team owns.

    app.add_middleware(MeasureMiddleware, slo=["p95=150ms"])        # Starlette, FastAPI
    app = MeasureMiddleware(app, slo=["p95=150ms"])                 # any ASGI application

It gives the metrics and events of the proxy, on a port and in a thread of their own, except queueing: what
waits in the server's accept queue is not visible from inside, so those series are absent. Each worker process
measures itself alone; with several workers put `model-exporter` before them instead.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any

from exporters import names
from exporters.collectors import Collectors
from exporters.meter import Meter, ModelMeter, outcome_of
from exporters.metrics_server import MetricsServer
from exporters.process import ProcessTarget, TargetKind, process_source
from exporters.proxy.routes import model_in_path, tells_tokens
from exporters.proxy.streams import StreamWatch
from exporters.samples import Measured, Source
from exporters.settings import parse_address, parse_objectives
from exporters.trace import trace_of_scope

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)
_NOBODY = 0  # no sidecar to leave out: this process is the model


class MeasureMiddleware:
    """Measures every HTTP request of `app`; other scopes pass untouched.

    `models`: names that get a label of their own, the first for requests whose path names none; `slo`:
    objectives such as `p95=150ms`, for exact buckets; `metrics`: where numbers are served, from the first
    scope on; `process`: CPU and memory of this process too; `exemplars`: durations name sampled traces.

    Raises:
        ValueError: `slo` or `metrics` is not of that form.
    """

    def __init__(
        self,
        app: App,
        *,
        models: Sequence[str] = (names.DEFAULT_MODEL,),
        slo: Sequence[str] = (),
        metrics: str = "0.0.0.0:9109",
        process: bool = True,
        exemplars: bool = False,
    ) -> None:
        objectives = parse_objectives(slo)
        self._app = app
        self._meter = Meter(
            "middleware",
            models,
            objectives=objectives.latency,
            first_token_objectives=objectives.first_token,
            inter_token_objectives=objectives.inter_token,
            exemplars=exemplars,
        )
        self._measured = _Traced if exemplars else _Measured
        self._model = models[0]
        self._process = process
        self._address = parse_address(metrics)
        self._started = False
        self._server: MetricsServer | None = None

    @property
    def metrics_port(self) -> int | None:
        """Where numbers are served; None before the first scope, and where the address was not to be had."""
        return self._server.port if self._server is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if not self._started:  # not when constructed: a server may fork its workers after that
            self._started = True
            self._serve()
        if scope["type"] == "http":
            await self._measured(self._meter, scope, receive, send).run(self._app, scope)
            return
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve until shutdown; an application may well return from this scope at once and live on."""
        stopping = False

        async def listen() -> Message:
            nonlocal stopping
            message = await receive()
            stopping = message["type"] == "lifespan.shutdown"
            return message

        try:
            await self._app(scope, listen, send)
        finally:
            if stopping and self._server is not None:
                self._server.stop()

    def _serve(self) -> None:
        sources: list[Source] = [_Requests(self._meter)]
        if self._process:
            own = ProcessTarget(TargetKind.PID, str(os.getpid()))
            sources.append(process_source([own], self._model, own_pid=_NOBODY))
        host, port = self._address
        try:
            self._server = MetricsServer(
                host, port, Collectors(sources), ready=lambda: True, events=self._meter.events
            )
        except OSError as error:  # the application itself goes on
            reason = error.strerror or error
            advice = "with several workers put model-exporter before them"
            _log.error("no metrics: cannot listen on %s:%d: %s; %s", host, port, reason, advice)
        else:
            self._server.start()
            _log.info("metrics on %s:%d", host, self._server.port)


class _Requests:
    """The meter as a source, without the queueing that it cannot see."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.name = meter.name

    def collect(self) -> Iterator[Measured]:
        """See `Source.collect`."""
        return (sample for sample in self._meter.collect() if sample.metric not in names.QUEUEING)


class _Measured:
    """One request. It is counted once, with the last byte sent or when the application is done with it."""

    __slots__ = (
        "_arrival",
        "_clock",
        "_ended",
        "_gone",
        "_kept",
        "_meter",
        "_outcome",
        "_path",
        "_receive",
        "_send",
        "_watch",
    )

    def __init__(self, meter: Meter, scope: Scope, receive: Receive, send: Send) -> None:
        self._path: bytes = scope.get("raw_path") or scope["path"].encode()
        named = model_in_path(self._path)
        self._meter: ModelMeter = meter.default if named is None else meter.model(named)
        self._clock = meter.now
        self._receive = receive
        self._send = send
        self._kept: Message | None = None
        self._watch: StreamWatch | None = None
        self._gone = False
        self._ended = False
        self._outcome = names.SERVER_ERROR  # until an answer begins
        self._arrival = meter.now()

    async def run(self, app: App, scope: Scope) -> None:
        self._meter.begin(self._arrival, self._arrival)
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._end(names.CANCELLED)
            raise
        except Exception:
            self._end(names.CANCELLED if self._gone else names.SERVER_ERROR)
            raise
        finally:
            # an application that returns without ending its answer has failed, or its client had left
            self._end(names.CANCELLED if self._gone else names.SERVER_ERROR)

    async def receive(self) -> Message:
        kept, self._kept = self._kept, None
        message = kept if kept is not None else await self._receive()
        if message["type"] == "http.request":
            self._meter.request_bytes += len(message.get("body", b""))
        elif message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._begin_answer(message)
            await self._send(message)
            return
        last = kind == "http.response.pathsend" or (
            kind == "http.response.body" and not message.get("more_body", False)
        )
        if last and not self._gone:
            self._look_for_disconnect()
        body = message.get("body", b"")
        await self._send(message)
        if body:
            self._meter.response_bytes += len(body)
            if self._watch is not None:
                self._watch.feed(body, self._clock(), 1)
        if last:
            self._end(names.CANCELLED if self._gone else self._outcome)

    def _begin_answer(self, message: Message) -> None:
        status = message["status"]
        self._outcome = outcome_of(status)
        if status >= 300:
            return
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        streamed = b"content-length" not in headers
        events = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        told = status == 200 and tells_tokens(self._path)
        if told or streamed:
            self._watch = StreamWatch(self._meter, self._arrival, timed=streamed, events=events, told=told)

    def _look_for_disconnect(self) -> None:
        """Whether the client has left by now. An application that never listens would not learn of it.

        `receive` is stepped once and let go: a server that knows of the disconnect answers at once.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # trio: its coroutines must not be stepped by hand
        waiting = self._receive()
        if not inspect.iscoroutine(waiting):
            return
        try:
            waiting.send(None)
        except StopIteration as stop:
            message = stop.value
            self._gone = message["type"] == "http.disconnect"
            self._kept = message  # the application may still ask for it
        finally:
            waiting.close()

    def _end(self, outcome: int) -> None:
        if self._ended:
            return
        self._ended = True
        tokens = self._watch.close() if self._watch is not None else 0
        self._meter.finish(self._arrival, self._arrival, self._clock(), outcome, tokens)


class _Traced(_Measured):
    """Also tells the meter the trace of its request."""

    __slots__ = ("_trace",)

    def __init__(self, meter: Meter, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(meter, scope, receive, send)
        self._trace = trace_of_scope(scope["headers"])

    def _end(self, outcome: int) -> None:
        if self._trace is not None and not self._ended:
            self._meter.trace(self._trace, outcome)
        super()._end(outcome)
