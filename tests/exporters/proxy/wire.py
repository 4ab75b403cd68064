"""A proxy in a thread, a scripted model server behind it, and a client that speaks raw HTTP before it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

from exporters import names
from exporters.meter import Meter
from exporters.proxy.server import Limits, Proxy
from exporters.samples import HistogramSample, Sample

PATIENCE = 10.0  # s: how long a test waits for what must come


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Until true, or fail: nothing here depends on how fast the machine is."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.005)


class Wire:
    """One TCP connection, read and written as bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data: bytes) -> Wire:
        self.sock.sendall(data)
        return self

    def _more(self) -> bytes:
        data = self.sock.recv(65536)
        self.buffer += data
        return data

    def until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`."""
        while mark not in self.buffer:
            if not self._more():
                raise EOFError(f"closed before {mark!r}; got {self.buffer!r}")
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self._more():
                raise EOFError(f"closed after {len(self.buffer)} of {count} bytes")
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def head(self) -> bytes:
        return self.until(b"\r\n\r\n")

    def message(self) -> tuple[bytes, bytes]:
        """Head and body, by Content-Length or chunked (raw)."""
        head = self.head()
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            body = b""
            while True:
                line = self.until(b"\r\n")
                size = int(line.split(b";")[0], 16)
                body += line
                if not size:
                    while True:
                        trailer = self.until(b"\r\n")
                        body += trailer
                        if trailer == b"\r\n":
                            return head, body
                body += self.exactly(size + 2)
        if b"content-length:" in lower:
            length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            return head, self.exactly(length)
        return head, b""

    def rest(self) -> bytes:
        """Everything until the other side closes; a reset counts as closed."""
        with contextlib.suppress(ConnectionResetError):
            while self._more():
                pass
        taken, self.buffer = self.buffer, b""
        return taken

    def ended(self) -> bool:
        """Whether the other side has closed or reset, waiting for it."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return True

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Wire], None]


def answer(body: bytes = b"hello", status: str = "200 OK", extra: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode() + extra + b"\r\n" + body


def echo_forever(wire: Wire) -> None:
    """Answers each request with its body."""
    while True:
        try:
            _, body = wire.message()
        except (EOFError, ConnectionResetError):
            return
        wire.send(answer(body or b"hello"))


class Server:
    """The model server: each connection runs the next script of the list, the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts) or [echo_forever]
        self.errors: list[BaseException] = []
        self.connections = 0
        self._threads: list[threading.Thread] = []
        self._wires: list[Wire] = []
        self.listen(0)

    def listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            wire = Wire(sock)
            self._wires.append(wire)
            thread = threading.Thread(target=self._serve, args=(script, wire), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, script: Script, wire: Wire) -> None:
        try:
            script(wire)
        except (EOFError, OSError):
            pass
        except BaseException as error:  # noqa: BLE001 - shown by the test, not lost in a thread
            self.errors.append(error)
        finally:
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)
            wire.close()

    def stop(self) -> None:
        """As a process that is killed: no more connections, and those there are end."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(PATIENCE)
        for wire in self._wires:
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._wires.clear()
        self._threads.clear()


class RunningProxy:
    """A proxy on a loop of its own thread."""

    def __init__(
        self,
        upstream_port: int,
        *,
        models: tuple[str, ...] = ("default",),
        exemplars: bool = False,
        **options: Any,
    ) -> None:
        self.meter = Meter("proxy", models, exemplars=exemplars)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.proxy: Proxy = self.call(self._make(upstream_port, options))
        self.call(self.proxy.start("127.0.0.1", 0))
        self.port = self.proxy.port
        self._clients: list[Wire] = []

    async def _make(self, upstream_port: int, options: dict[str, Any]) -> Proxy:
        limits = Limits(**options.pop("limits", {}))
        return Proxy(self.meter, ("127.0.0.1", upstream_port), limits=limits, **options)

    def call(self, coroutine: Any) -> Any:
        """Run on the proxy's loop and wait."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE * 3)

    def submit(self, coroutine: Any) -> Any:
        """Run on the proxy's loop; the future."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def client(self) -> Wire:
        wire = Wire(socket.create_connection(("127.0.0.1", self.port)))
        self._clients.append(wire)
        return wire

    def ask(self, request: bytes) -> bytes:
        """One request on a connection of its own, to the end of that connection."""
        wire = self.client().send(request)
        return wire.rest()

    # ------------------------------------------------------------------------------------------- numbers

    def outcomes(self) -> dict[str, int]:
        """Requests ended, by outcome, without zeros."""
        counts: dict[str, int] = {}
        for sample in self.meter.collect():
            if isinstance(sample, HistogramSample) and sample.metric is names.REQUEST_DURATION:
                total = int(sum(sample.counts))
                if total:
                    counts[sample.labels[1]] = counts.get(sample.labels[1], 0) + total
        return counts

    def value(self, metric: names.Metric, *labels: str) -> float:
        for sample in self.proxy.collect():
            if isinstance(sample, Sample) and sample.metric is metric and sample.labels == labels:
                return sample.value
        return 0.0

    def failures(self) -> dict[str, float]:
        return {
            sample.labels[0]: sample.value
            for sample in self.proxy.collect()
            if isinstance(sample, Sample) and sample.metric is names.PROXY_FAILURES
        }

    def traces(self) -> dict[str, list[str]]:
        """Traces that the exemplars of the durations name, by outcome."""
        found: dict[str, list[str]] = {}
        for sample in self.meter.collect():
            if isinstance(sample, HistogramSample):
                kept = [exemplar.trace_id for exemplar in sample.exemplars if exemplar is not None]
                assert not kept or sample.metric is names.REQUEST_DURATION
                if kept:
                    found.setdefault(sample.labels[1], []).extend(kept)
        return found

    def wait_outcomes(self, **expected: int) -> None:
        wait_until(lambda: self.outcomes() == expected, f"{expected}, have {self.outcomes()}")

    def stop(self) -> None:
        for wire in self._clients:
            wire.close()
        self.call(self.proxy.drain(0.5))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


@contextlib.contextmanager
def proxied(*scripts: Script, **options: Any) -> Iterator[tuple[RunningProxy, Server]]:
    """A proxy before a server with these scripts; what a script asserted fails the test."""
    server = Server(*scripts)
    proxy = RunningProxy(server.port, **options)
    try:
        yield proxy, server
    finally:
        proxy.stop()
        server.stop()
    assert not server.errors, server.errors
    # whatever happened, the books must balance
    assert proxy.proxy.admission.inside == 0
    assert proxy.proxy.admission.waiting == 0
    assert proxy.proxy.pool.in_use == 0
    assert proxy.meter.default.executing.inside == 0
    assert proxy.meter.default.waiting.inside == 0
