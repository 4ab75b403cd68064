"""A fast HTTP server that knows the truth: it logs when each request reached it and when its answer left.

`python truth_server.py CORE` prints its port. /fast answers at once, /stall stands still, others take 5 ms;
/truth gives {"count", "p50", "p95", "p99"} in seconds of the requests since the last /truth.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import cast

import numpy as np
import uvloop

DELAY = 0.005
STALL = 2.0
TIMES: list[float] = []


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


OK = _answer(b'{"answer": 1.0}')


class Protocol(asyncio.Protocol):
    """One small request at a time per connection, whole in one read."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        arrived = time.monotonic()
        path = data.split(b" ", 2)[1]
        if path == b"/truth":
            self._transport.write(_answer(json.dumps(_truth()).encode()))
        elif path == b"/stall":
            time.sleep(STALL)
            self._transport.write(OK)
        elif path == b"/fast":
            self._done(arrived)
        else:
            self._loop.call_later(DELAY, self._done, arrived)

    def _done(self, arrived: float) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(OK)
        TIMES.append(time.monotonic() - arrived)


def _truth() -> dict[str, float]:
    values = np.array(TIMES) if TIMES else np.array([np.nan])
    count = len(TIMES)
    TIMES.clear()
    p50, p95, p99 = np.quantile(values, [0.5, 0.95, 0.99]).tolist()
    return {"count": count, "p50": p50, "p95": p95, "p99": p99}


async def main() -> None:
    os.sched_setaffinity(0, {int(sys.argv[1])})
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(loop), "127.0.0.1", 0, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
