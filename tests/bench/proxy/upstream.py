"""A model server for benchmarks whose truth is known: `python -m tests.bench.proxy.upstream PORT`.

The path says what to do: `/fast`; `/sleep/MS`; `/bytes/N`; `/stream/COUNT/MS`, server-sent events that carry
the monotonic time at which each was written.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import uvloop

BODY = b'{"prediction": [0.1, 0.9], "model": "demo", "version": "3"}'


class ModelServer(asyncio.Protocol):
    """HTTP/1.1 with keep-alive and Content-Length bodies: enough for what the benchmarks send."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.buffer = b""
        self.left = 0
        self.path = b""
        self.task: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.left > len(data):
            self.left -= len(data)
            return
        data = self.buffer + data[self.left :] if not self.left else data[self.left :]
        if self.left:
            self.left = 0
            self.respond()
        self.buffer = b""
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.buffer = data
                return
            head, data = data[:end].lower(), data[end + 4 :]
            self.path = head.split(b" ", 2)[1]
            _, _, length = head.partition(b"\r\ncontent-length:")
            size = int(length.split(b"\r\n", 1)[0]) if length else 0
            if len(data) < size:
                self.left = size - len(data)
                return
            data = data[size:]
            self.respond()

    def respond(self) -> None:
        parts = self.path.split(b"/")
        if parts[1] == b"sleep":
            asyncio.get_running_loop().call_later(int(parts[2]) / 1000, self.answer, BODY)
        elif parts[1] == b"bytes":
            self.answer(b"x" * int(parts[2]))
        elif parts[1] == b"stream":
            self.task = asyncio.get_running_loop().create_task(self.stream(int(parts[2]), int(parts[3])))
        else:
            self.answer(BODY)

    def answer(self, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def stream(self, count: int, pause: int) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(count):
            event = b"data: %.6f\n\n" % time.monotonic()
            self.transport.write(b"%x\r\n%s\r\n" % (len(event), event))
            await asyncio.sleep(pause / 1000)
        self.transport.write(b"0\r\n\r\n")


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(ModelServer, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
