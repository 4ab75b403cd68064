"""Production windows from a real sidecar before a real server."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

import httpx
import pytest

from advisor.service.app import Advisor
from advisor.service.options import RunOptions
from tests.integration.service.conftest import Configure

pytestmark = pytest.mark.integration


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def sidecar(upstream: int) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """The process, the URL to send requests to, and the URL of its metrics."""
    listen, metrics = free_port(), free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "exporters.cli", f"--upstream=http://127.0.0.1:{upstream}",
            f"--listen=127.0.0.1:{listen}", f"--metrics=127.0.0.1:{metrics}", "--log-level=warning",
        ]
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                if httpx.get(f"http://127.0.0.1:{metrics}/readyz").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield process, f"http://127.0.0.1:{listen}", f"http://127.0.0.1:{metrics}/metrics"
    finally:
        process.kill()
        process.wait()


async def send(url: str, rate: float, seconds: float) -> int:
    """Evenly spaced requests; gives how many were answered."""
    async with httpx.AsyncClient() as client:
        began, sent, tasks = time.monotonic(), 0, []
        while (passed := time.monotonic() - began) < seconds:
            while sent < passed * rate:
                tasks.append(asyncio.create_task(client.get(url)))
                sent += 1
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*tasks)
    return sum(answer.is_success for answer in answers)


async def until_event(advisor: Advisor, words: str) -> None:
    async with asyncio.timeout(40):
        while True:
            if any(words in event.message for event in await advisor.events("sleepy")):
                return
            await asyncio.sleep(0.2)


def test_production_is_recorded_a_load_test_is_not_and_a_lost_sidecar_is_told(
    configure: Configure, port: int
) -> None:
    async def scenario() -> None:
        settings = configure(url=url, observe={"exporters": [metrics]})
        async with Advisor(settings, background=True) as advisor:
            began = time.time()
            await asyncio.sleep(2)
            answered = await send(url, 25, 3)
            await asyncio.sleep(2.5)
            windows = await advisor.windows("sleepy", began, time.time())
            seen = sum(window.requests.get("ok", 0.0) for window in windows)
            assert seen == answered
            assert all(window.replicas == 1 and window.seconds < 3 for window in windows)
            assert all(a.end <= b.start + 1e-6 for a, b in pairwise(windows))

            loaded = time.time()
            run = await advisor.start_run("sleepy", "load", RunOptions(rate=40, duration=3))
            ended = await advisor.wait(run.run_id)
            await asyncio.sleep(3)
            # The run saw the sidecar; the record of production saw at most the run's preflight.
            assert sum(w.requests.get("ok", 0.0) for w in ended.stages[0].windows) > 40
            during = await advisor.windows("sleepy", loaded, time.time())
            assert sum(sum(window.requests.values()) for window in during) <= 3

            process.kill()
            await until_event(advisor, "cannot be read")

    with sidecar(port) as (process, url, metrics):
        asyncio.run(scenario())
