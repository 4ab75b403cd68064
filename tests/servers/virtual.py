"""A model server that only sleeps, with its delays kept in virtual time: its capacity is known exactly.

    python -m tests.servers.virtual --port 0 --workers 2 --mean 0.02 --cv 0.5 --leak 1e6

Each arrival gets a virtual start, max(arrival, first free worker), and an end; the answer leaves at that
absolute time. A late timer delays one answer and no other: the machine's noise does not add up in the queue.
The first line on standard output is the port. With --log, each request's arrival and virtual end are written.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import math
import random
from pathlib import Path
from typing import TextIO, cast

import httptools
import uvloop

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
BAD = b'HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 12\r\n\r\n{"bad":true}'


class Workers:
    """`count` workers, first in first out, at most `limit` waiting: virtual start and end of each arrival."""

    def __init__(self, count: int, mean: float, cv: float, limit: int | None, seed: int) -> None:
        self._free = [0.0] * count
        self._starts: list[float] = []
        self._limit = limit
        self._random = random.Random(seed)
        self._sigma = math.sqrt(math.log1p(cv * cv))
        self._mu = math.log(mean) - self._sigma**2 / 2

    def end(self, now: float) -> float | None:
        """When the answer to an arrival at `now` is due (s); None when the queue is full."""
        while self._starts and self._starts[0] <= now:
            heapq.heappop(self._starts)
        if self._limit is not None and len(self._starts) >= self._limit:
            return None
        start = max(now, heapq.heappop(self._free))
        end = start + self._random.lognormvariate(self._mu, self._sigma)
        heapq.heappush(self._free, end)
        heapq.heappush(self._starts, start)
        return end


class Connection(asyncio.Protocol):
    """One client connection; requests on it are answered in order."""

    def __init__(self, workers: Workers, log: TextIO | None) -> None:
        self._workers = workers
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._write(BAD)

    def on_message_complete(self) -> None:
        now = self._loop.time()
        end = self._workers.end(now)
        if end is None:
            self._write(FULL)
            return
        if self._log:
            self._log.write(f"{now:.6f} {end:.6f}\n")
        self._loop.call_at(end, self._write, ANSWER)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def leak(rate: float) -> None:
    """Hold `rate` bytes/s more, with every page in use."""
    loop, held, size = asyncio.get_running_loop(), [], 0
    began = loop.time()
    while True:
        await asyncio.sleep(0.1)
        more = int(rate * (loop.time() - began)) - size
        held.append(b"x" * more)
        size += more


async def serve(options: argparse.Namespace) -> None:
    """Run until killed."""
    workers = Workers(options.workers, options.mean, options.cv, options.queue, options.seed)
    log = Path(options.log).open("w", buffering=1, encoding="ascii") if options.log else None  # noqa: ASYNC230, SIM115
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(workers, log), "127.0.0.1", options.port, backlog=4096
    )
    leaking = asyncio.create_task(leak(options.leak)) if options.leak else None
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()
    del leaking


def main() -> None:
    """Parse the options and serve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--mean", type=float, default=0.02, help="seconds of service")
    parser.add_argument("--cv", type=float, default=0.5, help="standard deviation over mean, lognormal")
    parser.add_argument("--queue", type=int, default=None, help="most that may wait; beyond it 503")
    parser.add_argument("--leak", type=float, default=0.0, help="bytes/s of memory that are never given back")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", default=None)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
