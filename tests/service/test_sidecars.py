"""Sidecars behind addresses that come and go: real HTTP servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from advisor.domain import Window
from advisor.service import sidecars
from advisor.service.observer import PATIENCE, Watch
from advisor.service.sidecars import Sidecars, resolved
from advisor.settings import ObserveSettings, TargetSettings


@dataclass
class Metrics:
    """Serves a request counter that grows by `step` with each scrape."""

    step: int
    url: str = ""
    _total: int = 0
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self._total += self.step
                body = (
                    "# TYPE inference_request_duration_seconds histogram\n"
                    f'inference_request_duration_seconds_bucket{{outcome="ok",le="+Inf"}} {self._total}\n'
                    f'inference_request_duration_seconds_count{{outcome="ok"}} {self._total}\n'
                    f'inference_request_duration_seconds_sum{{outcome="ok"}} 1.0\n'
                )
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def drop(self) -> None:
        for writer in self._connections:
            writer.close()


@asynccontextmanager
async def served(step: int, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Metrics]:
    metrics = Metrics(step)
    server = await asyncio.start_server(metrics.answer, host, port)
    metrics.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/metrics"
    try:
        yield metrics
    finally:
        server.close()
        metrics.drop()


def ok(window: Window | None) -> float | None:
    return None if window is None else window.requests.get("ok")


def test_listed_sidecars_are_summed_and_a_lost_one_is_told() -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient() as client, served(3) as first:
            async with served(4) as second:
                cars = Sidecars(ObserveSettings(exporters=[first.url, second.url]), client)
                assert await cars() is None
                assert (ok(await cars()), cars.complete) == (7, True)
            window = await cars()
            assert (ok(window), cars.complete) == (3, False)
            assert "cannot be read" in cars.problems[0]
            cars.forget()
            assert await cars() is None

    asyncio.run(scenario())


def test_a_window_in_which_replicas_came_or_went_is_not_the_whole_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        addresses: list[str] = []

        async def by_name(name: str) -> list[str]:
            assert name == "sidecars.example:9109"
            return list(addresses)

        monkeypatch.setattr(sidecars, "resolved", by_name)
        async with httpx.AsyncClient() as client, served(3) as first, served(4) as second:
            cars = Sidecars(ObserveSettings(dns="sidecars.example:9109"), client)
            addresses[:] = [first.url]
            await cars()
            assert (ok(await cars()), cars.complete) == (3, True)
            addresses[:] = [first.url, second.url]
            assert (ok(await cars()), cars.complete) == (3, False)  # the new one has no earlier reading
            assert (ok(await cars()), cars.complete) == (7, True)
            addresses[:] = [second.url]
            assert (ok(await cars()), cars.complete) == (4, False)
            assert (ok(await cars()), cars.complete) == (4, True)

    asyncio.run(scenario())


def test_a_name_becomes_the_urls_of_all_its_addresses() -> None:
    assert asyncio.run(resolved("127.0.0.1")) == ["http://127.0.0.1:9109/metrics"]
    assert asyncio.run(resolved("http://127.0.0.1:81/own")) == ["http://127.0.0.1:81/own"]
    with pytest.raises(OSError):
        asyncio.run(resolved("does-not-exist.invalid"))


def a_target(*urls: str) -> TargetSettings:
    return TargetSettings.model_validate(
        {
            "name": "heart",
            "url": "http://127.0.0.1:1",
            "requests": [{}],
            "slo": {"latency": {"p95": "1s"}},
            "observe": {"exporters": list(urls)},
        }
    )


async def nothing(_source: str) -> None:
    """No request of it is stored yet."""


def test_a_replica_that_stays_away_is_given_up_and_the_diary_says_so_once() -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient() as client, served(3) as first:
            async with served(4) as second:
                port = int(second.url.split(":")[2].split("/")[0])
                watch = Watch(a_target(first.url, second.url), client, 5.0, stored=nothing)
                await watch.window()
                assert ok(await watch.window()) == 7
            seen = [ok(await watch.window()) for _ in range(PATIENCE + 1)]
            assert seen == [None] * (PATIENCE - 1) + [3, 3]
            told = watch.news()
            assert told is not None
            assert "cannot be read" in told
            assert watch.news() is None
            async with served(4, port=port):
                assert ok(await watch.window()) == 7  # its counter was reset
                again = watch.news()
                assert again is not None
                assert "can be read again" in again

    asyncio.run(scenario())


def test_a_window_with_a_gap_in_it_is_left_out() -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient() as client, served(3) as first:
            watch = Watch(a_target(first.url), client, 0.02, stored=nothing)
            await watch.window()
            await asyncio.sleep(0.2)
            assert await watch.window() is None

    asyncio.run(scenario())
