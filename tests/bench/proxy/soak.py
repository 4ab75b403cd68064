"""Clients that come and go at a steady rate, and the sidecar's books compared with theirs to the request.

`python -m tests.bench.proxy.soak --seconds 600 --rate 1000`. Requests are sent open-loop on a pool of
connections; a share of them is left by its client: before the request is whole, while the server works, or
within the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.proxy.rivals import Machine, Rival, free_port, machine

BODY = 1024


@dataclass
class Result:
    """What the clients saw, what the sidecar says, and where they disagree."""

    sent: int = 0  # requests sent whole
    cut: int = 0  # requests of which only a part was sent
    answered: int = 0
    left: int = 0  # sent whole, then left
    cancelled: int = 0  # of those, what the sidecar counts as cancelled
    rss_mib: list[float] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One connection: a request, its answer, and so on; reconnects when it has left."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.transport: asyncio.Transport | None = None
        self.expected = 0
        self.leaves = ""
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, path: str, body: int, leaves: str) -> None:
        assert self.transport is not None
        self.leaves, self.expected, self.buffer = leaves, -1, b""
        request = b"POST %s HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % (path.encode(), body)
        request += b"x" * body
        result = self.driver.result
        if leaves == "cut":
            result.cut += 1
            self.transport.write(request[:-10])
            asyncio.get_running_loop().call_later(0.01, self.leave)
            return
        result.sent += 1
        self.transport.write(request)
        if leaves == "waiting":
            asyncio.get_running_loop().call_later(self.driver.chance.uniform(0, 0.01), self.leave)

    def leave(self) -> None:
        if self.expected and self.transport is not None:
            if self.leaves != "cut":
                self.driver.result.left += 1
            self.expected, self.leaves = 0, "gone"
            (self.transport.abort if self.driver.chance.random() < 0.5 else self.transport.close)()

    def data_received(self, data: bytes) -> None:
        if not self.expected:
            return
        self.buffer += data
        if self.expected < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            if not head.startswith(b"http/1.1 200 "):
                self.driver.result.problems.append(head.decode("latin-1"))
            self.expected = end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if self.leaves == "answer":
            self.leave()
        elif len(self.buffer) == self.expected:
            self.expected = 0
            self.driver.result.answered += 1
            self.driver.free.append(self)
        elif len(self.buffer) > self.expected:
            self.driver.result.problems.append("more bytes than the answer has")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.expected:
            self.driver.result.problems.append(f"the sidecar closed a connection with a request on it: {exc}")
            self.driver.result.left += 1
        elif self in self.driver.free:
            self.driver.free.remove(self)
        self.driver.open -= 1


class Driver:
    """Sends at `rate`, each request on a free connection or a new one."""

    def __init__(self, port: int, rate: float, leaves: float, seed: int) -> None:
        self.port, self.rate, self.leaves = port, rate, leaves
        self.chance = random.Random(seed)
        self.free: list[Client] = []
        self.open = 0
        self.result = Result()

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        begin = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        due = begin
        while due < begin + seconds:
            due += self.chance.expovariate(self.rate)
            delay = due - time.monotonic()
            if delay > 0.0005:
                await asyncio.sleep(delay)
            task = loop.create_task(self.one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for _ in range(400):  # the last answers
            if len(self.free) == self.open:
                break
            await asyncio.sleep(0.05)
        for client in list(self.free):
            if client.transport is not None:
                client.transport.close()
        await asyncio.sleep(0.3)

    async def one(self) -> None:
        client = self.free.pop() if self.free else None
        if client is None or client.transport is None or client.transport.is_closing():
            client = Client(self)
            self.open += 1
            await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", self.port)
        chance = self.chance
        leaves = (
            chance.choice(["cut", "waiting", "waiting", "answer"]) if chance.random() < self.leaves else ""
        )
        path = "/bytes/300000" if leaves == "answer" else f"/sleep/{chance.randint(1, 8)}"
        client.ask(path, BODY if chance.random() < 0.98 else 100_000, leaves)


def read_outcomes(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        sample.labels["outcome"]: int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "inference_request_duration_seconds_count" and sample.value
    }


def soak(*, seconds: float, rate: float, leaves: float = 0.03, seed: int = 1) -> Result:
    """Run at `rate` requests/s, of which the share `leaves` is left by its client, and compare the books."""
    with tempfile.TemporaryDirectory() as folder, machine(Path(folder)) as started:
        return _soak(started, seconds, rate, leaves, seed)


def _soak(started: Machine, seconds: float, rate: float, leaves: float, seed: int) -> Result:
    model = started.model_server()
    metrics_port = free_port()
    sidecar = started.exporter(model.port, metrics=metrics_port)
    driver = Driver(sidecar.port, rate, leaves, seed)
    uvloop.run(_watched(driver, sidecar, seconds))
    result = driver.result
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        result.outcomes = read_outcomes(metrics_port)
        if sum(result.outcomes.values()) == result.sent + result.cut:
            break
        time.sleep(0.1)
    _compare(result)
    return result


async def _watched(driver: Driver, sidecar: Rival, seconds: float) -> None:
    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds / 20)
            driver.result.rss_mib.append(round(sidecar.rss_mib(), 2))

    watcher = asyncio.get_running_loop().create_task(watch())
    await driver.run(seconds)
    watcher.cancel()


def _compare(result: Result) -> None:
    counts = Counter(result.outcomes)
    result.cancelled = counts["cancelled"] - result.cut
    if result.answered + result.left != result.sent:
        result.problems.append(f"{result.sent} sent, {result.answered} answered, {result.left} left")
    if set(counts) - {"ok", "cancelled"}:
        result.problems.append(f"an error that no client caused: {dict(counts)}")
    if sum(counts.values()) != result.sent + result.cut:
        result.problems.append(
            f"{result.sent + result.cut} requests, the sidecar counts {sum(counts.values())}"
        )
    if not result.answered <= counts["ok"] <= result.answered + result.left:
        result.problems.append(
            f"{result.answered} answered and {result.left} left, the sidecar says {dict(counts)}"
        )
    half = len(result.rss_mib) // 2
    if half and max(result.rss_mib[half:]) > max(result.rss_mib[:half]) + 2:
        result.problems.append(f"memory grows: {result.rss_mib}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.proxy.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=1000)
    options = parser.parse_args(arguments)
    result = soak(seconds=options.seconds, rate=options.rate)
    sys.stdout.write(json.dumps(vars(result), indent=2) + "\n")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
