"""A running exporter: the proxy on the loop, the metrics port beside it, from first to last request."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack

from exporters import names
from exporters.collectors import Collectors
from exporters.meter import Meter
from exporters.metrics_server import MetricsServer
from exporters.proxy.server import Proxy
from exporters.samples import Source
from exporters.settings import Settings, UsageError
from exporters.sources import build_sources

_log = logging.getLogger("model-exporter")


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and then until what is in flight has ended.

    Raises:
        UsageError: an address cannot be used, or a source is named in a form that there is not.
    """
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        proxy = await _start_proxy(settings, stack)
        collectors = _collectors(settings, proxy)
        try:
            metrics = MetricsServer(
                *settings.metrics,
                collectors,
                ready=lambda: not stopping.is_set(),
                events=proxy.meter.events if proxy is not None else None,
            )
        except OSError as error:
            raise _cannot_listen("--metrics", settings.metrics, error) from None
        metrics.start()
        stack.callback(metrics.stop)
        _announce(settings, proxy, metrics)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, stopping)
        await stopping.wait()
        if proxy is not None:
            await _drain(proxy, settings)


async def _start_proxy(settings: Settings, stack: AsyncExitStack) -> Proxy | None:
    if settings.upstream is None:
        return None
    meter = Meter(
        "proxy",
        settings.models,
        objectives=settings.objectives.latency,
        first_token_objectives=settings.objectives.first_token,
        inter_token_objectives=settings.objectives.inter_token,
        exemplars=settings.exemplars,
    )
    proxy = Proxy(
        meter,
        settings.upstream,
        max_in_flight=settings.max_in_flight,
        max_queue=settings.max_queue,
        limits=settings.limits,
    )
    try:
        await proxy.start(*settings.listen)
    except OSError as error:
        raise _cannot_listen("--listen", settings.listen, error) from None
    stack.push_async_callback(proxy.drain, 0.0)
    return proxy


def _collectors(settings: Settings, proxy: Proxy | None) -> Collectors:
    try:
        sources: list[Source] = build_sources(
            scrapes=settings.scrapes,
            processes=settings.processes,
            gpu=settings.gpu,
            models=settings.models,
            upstream=settings.upstream,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    if proxy is None:
        return Collectors(sources)
    # without a queue of its own the proxy knows less of waiting than the server behind it
    gives_way = {} if settings.max_in_flight is not None else {proxy.name: names.QUEUEING}
    return Collectors([proxy, *sources], gives_way)


def _announce(settings: Settings, proxy: Proxy | None, metrics: MetricsServer) -> None:
    if proxy is not None and settings.upstream is not None:
        host, port = settings.upstream
        _log.info("requests on %s:%d go to http://%s:%d", settings.listen[0], proxy.port, host, port)
    _log.info("numbers on http://%s:%d%s", settings.metrics[0], metrics.port, names.METRICS_PATH)


def _stop(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        _log.warning("stopped at once by a second signal")
        os._exit(130)
    stopping.set()


async def _drain(proxy: Proxy, settings: Settings) -> None:
    """Not ready first, so that nobody new is sent here; then no new connections; then the last answer."""
    proxy.draining = True
    _log.info("draining: not ready, %d in flight", proxy.in_flight)
    await asyncio.sleep(settings.drain_delay)
    if await proxy.drain(settings.drain_seconds):
        _log.info("drained: every request was answered")
    else:
        _log.warning("gave up after %g s with requests in flight", settings.drain_seconds)


def _cannot_listen(option: str, address: tuple[str, int], error: OSError) -> UsageError:
    reason = "the port is in use" if "in use" in str(error) else error.strerror or str(error)
    return UsageError(f"{option}: cannot listen on {address[0]}:{address[1]}: {reason}; choose another")
