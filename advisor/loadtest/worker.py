"""A load generator on a machine of its own: takes a run's stages from an advisor, within limits of its own.

It ends the load at once when the connection to the advisor breaks, and its generators end with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from advisor.domain import Arrivals, Stage
from advisor.errors import AdvisorError, ConfigurationError, NotAllowed
from advisor.loadtest.engine.arrivals import peak_rate
from advisor.loadtest.hub import guarded, key_pair, package_version
from advisor.loadtest.process import Process
from advisor.loadtest.protocol import Caps, Failure, Part, Setup, decode, encode

_log = logging.getLogger(__name__)
_RECONNECT_MS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker does not exceed, whatever an advisor asks of it: req/s and requests in flight of a run.

    `locustfile`, `ca_file`: its own copies, because no code comes over the wire.
    """

    allowed_hosts: tuple[str, ...] = ()
    rate: float = 1000.0
    in_flight: int = 1000
    locustfile: Path | None = None
    ca_file: Path | None = None


class Worker:
    """Connects to the advisor at `master` (host:port) as `name`, until it is told to stop."""

    def __init__(self, master: str, secret: str, name: str, limits: Limits) -> None:
        self._master = master
        self._keys = key_pair(secret)
        self._name = name
        self._limits = limits
        self._sessions: dict[bytes, _Session] = {}
        self._connected = False

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ConfigurationError: the advisor has another version.
        """
        context = zmq.asyncio.Context()
        socket = guarded(context, zmq.DEALER, self._keys)
        socket.curve_serverkey = self._keys[0]
        socket.setsockopt(zmq.IDENTITY, self._name.encode())
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        monitor = socket.get_monitor_socket()
        _log.info("connecting to %s as %s", self._master, self._name)
        socket.connect(f"tcp://{self._master}")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(monitor, socket))
                group.create_task(self._serve(socket))
        except* ConfigurationError as refused:
            raise refused.exceptions[0] from None
        finally:
            await self._end_all()
            socket.disable_monitor()
            context.destroy(linger=0)

    async def _watch(self, monitor: zmq.asyncio.Socket, socket: zmq.asyncio.Socket) -> None:
        """No load without an advisor: a broken connection ends all at once."""
        while True:
            event = (await recv_monitor_message(monitor))["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._connected = True
                _log.info("connected to %s as %s", self._master, self._name)
                hello = json.dumps({"version": package_version()}).encode()
                await socket.send_multipart([b"hello", hello])
            elif event == zmq.EVENT_DISCONNECTED:
                if self._connected:
                    _log.warning("the connection to %s broke; all load ends", self._master)
                self._connected = False
                await self._end_all()
            elif event in _NOT_ACCEPTED:
                _log.warning("%s does not accept this worker: is its secret the same?", self._master)

    async def _serve(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            kind, *frames = await socket.recv_multipart()
            match kind, frames:
                case b"ping", [sent]:
                    pong = json.dumps([json.loads(sent), time.monotonic()]).encode()
                    await socket.send_multipart([b"pong", pong])
                case b"open", [number]:
                    self._sessions[number] = _Session(number, socket, self._name, self._limits)
                case b"line", [number, line] if number in self._sessions:
                    self._sessions[number].take(line)
                case b"close", [number] if number in self._sessions:
                    await self._sessions.pop(number).end()
                case b"refused", [why]:
                    raise ConfigurationError(why.decode(), hint="install the same version on both")

    async def _end_all(self) -> None:
        sessions, self._sessions = self._sessions, {}
        await asyncio.gather(*(session.end() for session in sessions.values()))


class _Session:
    """One run's generator, held within the limits."""

    def __init__(self, number: bytes, socket: zmq.asyncio.Socket, worker: str, limits: Limits) -> None:
        self._number = number
        self._socket = socket
        self._worker = worker
        self._limits = limits
        self._process = Process()
        self._caps = Caps()
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._feed())]

    def take(self, line: bytes) -> None:
        """A line for the generator."""
        self._lines.put_nowait(line)

    async def end(self) -> None:
        """At once, load and all."""
        for task in self._tasks:
            task.cancel()
        await self._process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _feed(self) -> None:
        await self._process.start()
        self._tasks.append(asyncio.create_task(self._tell()))
        while True:
            line = await self._lines.get()
            try:
                await self._process.send(self._permitted(line))
            except AdvisorError as error:
                failure = Failure(
                    type(error).__name__, f"worker '{self._worker}': {error.message}", error.hint
                )
                await self._socket.send_multipart([b"line", self._number, encode(failure)])

    async def _tell(self) -> None:
        while line := await self._process.receive():
            await self._socket.send_multipart([b"line", self._number, line])
        words = await self._process.last_words()
        await self._socket.send_multipart([b"ended", self._number, words.encode()])

    def _permitted(self, line: bytes) -> bytes:
        match decode(line):
            case Setup() as setup:
                self._caps = setup.caps
                return encode(restricted(setup, self._limits))
            case Stage() as stage:
                check_stage(stage, 1, self._caps, self._limits)
            case Part() as part:
                check_stage(part.stage, part.of, self._caps, self._limits)
        return line


def restricted(setup: Setup, limits: Limits) -> Setup:
    """The setup as the worker's own limits allow it.

    Raises:
        ConfigurationError: the run's locustfile is not the worker's.
    """
    setup = replace(setup, allowed_hosts=limits.allowed_hosts)
    if limits.ca_file is not None:
        setup = replace(setup, ca_file=str(limits.ca_file))
    if setup.locustfile is None:
        return setup
    if limits.locustfile is None:
        raise ConfigurationError(
            "the run has a locustfile, and the worker has none",
            hint="start it with --locustfile FILE: no code comes over the wire",
        )
    if hashlib.sha256(limits.locustfile.read_bytes()).hexdigest() != setup.locustfile_sha256:
        raise ConfigurationError(f"its {limits.locustfile} is not the locustfile of the run")
    caps = replace(setup.caps, rate=min(setup.caps.rate, limits.rate))
    return replace(setup, locustfile=str(limits.locustfile), caps=caps)


def check_stage(stage: Stage, of: int, caps: Caps, limits: Limits) -> None:
    """That a share, one of `of`, of a stage under the run's caps stays within the worker's limits.

    Raises:
        NotAllowed: it does not; with the numbers.
    """
    for what, asked, most in _asked(stage, of, caps, limits):
        if asked > most * (1 + 1e-9):
            raise NotAllowed(
                f"stage '{stage.name}' asks for {asked:g} {what} of it, it gives at most {most:g}",
                hint="raise --max-rate or --max-in-flight of the worker, or use more workers",
            )


def _asked(stage: Stage, of: int, caps: Caps, limits: Limits) -> Iterator[tuple[str, float, float]]:
    if stage.arrivals is Arrivals.USERS:
        yield "users", float(stage.count or 1), limits.in_flight
        return
    peak = caps.rate if stage.arrivals is Arrivals.RAMP else peak_rate(stage, caps)
    yield "req/s", peak / of, limits.rate
    at_once = stage.count or 0 if stage.arrivals is Arrivals.VOLLEY else 0
    yield "requests at once", at_once / of, limits.in_flight
    yield "requests in flight", caps.in_flight // of, limits.in_flight


_NOT_ACCEPTED = {
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
}
