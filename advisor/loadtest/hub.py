"""Where workers of other machines connect: load generators that are spoken to over ZeroMQ in place of pipes.

advisor → worker    `ping`; `open`, `line`, `close` of a session (a run's generator); `refused`
worker → advisor    `hello`; `pong`; `line` and `ended` of a session

CurveZMQ encrypts and authenticates both ends with one key pair, which each derives from a secret that both
know. ZeroMQ itself sends heartbeats, in a thread of its own, and says at once when a connection is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import statistics
import time
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.utils import z85

from advisor.errors import ConfigurationError, EngineFailed
from advisor.loadtest.client import Engine
from advisor.loadtest.crew import Crew, Member

_log = logging.getLogger(__name__)
_SHORTEST_SECRET = 16  # characters
_PING_SECONDS = 0.5
_HEARTBEAT_MS, _SILENCE_MS = 500, 1500  # a connection that is silent so long is gone
_PINGS = 20  # of which the fastest tells how far the clocks are apart
_SALT = b"capacity-advisor worker"  # fixed, because both ends must derive the same keys


def key_pair(secret: str) -> tuple[bytes, bytes]:
    """Public and secret CURVE key (Z85) from a shared secret, by scrypt.

    Raises:
        ConfigurationError: too short to keep anybody out.
    """
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigurationError(
            f"the workers' secret has {len(secret)} characters, it needs {_SHORTEST_SECRET} or more",
            hint="make one with: openssl rand -hex 32",
        )
    private = z85.encode(hashlib.scrypt(secret.encode(), salt=_SALT, n=2**14, r=8, p=1, dklen=32))
    return zmq.curve_public(private), private


def secret_of(environment: Mapping[str, str], variable: str) -> str:
    """The workers' secret.

    Raises:
        ConfigurationError: the variable is not set.
    """
    secret = environment.get(variable, "")
    if not secret:
        raise ConfigurationError(
            f"{variable} is not set: the advisor and its workers know each other by a secret",
            hint="set it to the same value on both; make one with: openssl rand -hex 32",
        )
    return secret


def package_version() -> str:
    """Both ends must have the same: what they say to each other is no lasting format."""
    return version("capacity-advisor")


class Remote:
    """A worker, and the transport of its one generator. `offset`: its monotonic clock less ours (s)."""

    def __init__(self, hub: Hub, name: str, session: int) -> None:
        self._hub = hub
        self.name = name
        self._session = str(session).encode()
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._end: str | None = None
        self.engine = Engine(self)

    @property
    def offset(self) -> float:
        """By the fastest of the last pings, as NTP does: its error is at most half of that round trip."""
        return self._hub.offset(self.name)

    @property
    def alive(self) -> bool:
        return self._end is None

    @property
    def tail(self) -> str:
        return f" (worker '{self.name}')"

    async def start(self) -> None:
        await self._hub.tell(self.name, b"open", self._session)

    async def send(self, line: bytes) -> None:
        if self._end is not None:
            raise EngineFailed(self._end)
        await self._hub.tell(self.name, b"line", self._session, line)

    async def receive(self) -> bytes:
        if self._end is not None and self._lines.empty():
            return b""
        return await self._lines.get()

    async def last_words(self) -> str:
        return self._end or f"worker '{self.name}' said no more"

    async def close(self) -> None:
        self.ended(f"the generator of worker '{self.name}' was closed")
        if self._hub.forget(self.name, self._session):
            with contextlib.suppress(EngineFailed):
                await self._hub.tell(self.name, b"close", self._session)

    async def kill(self) -> None:
        await self.close()

    def heard(self, line: bytes) -> None:
        """A line of its generator."""
        self._lines.put_nowait(line)

    def ended(self, why: str) -> None:
        """Its generator has ended, or the worker is gone."""
        if self._end is None:
            self._end = why
            self._lines.put_nowait(b"")


class _Worker:
    """One that is connected: (round trip, offset) of its last pings, and its sessions."""

    def __init__(self) -> None:
        self.pings: deque[tuple[float, float]] = deque(maxlen=_PINGS)
        self.sessions: dict[bytes, Remote] = {}


class Hub:
    """Listens at `bind` (host:port; port 0 lets the system choose) for workers that know `secret`."""

    def __init__(self, bind: str, secret: str) -> None:
        self._bind = bind
        self._keys = key_pair(secret)
        self._workers: dict[str, _Worker] = {}
        self.joined = asyncio.Event()  # set when a worker has come
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._authenticator: AsyncioAuthenticator | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._socket is not None
        endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return int(endpoint.rpartition(":")[2])

    @property
    def names(self) -> list[str]:
        """The workers that are connected."""
        return sorted(self._workers)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigurationError: the address cannot be listened at.
        """
        self._context = zmq.asyncio.Context()
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(credentials_provider=_Only(self._keys[0]))
        self._socket = guarded(self._context, zmq.ROUTER, self._keys)
        self._socket.curve_server = True
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a worker that is gone is an error, not a silence
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # one that comes again takes its old place
        try:
            self._socket.bind(f"tcp://{self._bind}")
        except zmq.ZMQError as error:
            await self.close()
            raise ConfigurationError(
                f"cannot listen for workers at {self._bind}: {error.strerror}",
                hint="choose another address with loadgen.bind, or --bind",
            ) from None
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._ping())]

    async def close(self) -> None:
        """Stop listening; the workers end what they run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for worker in self._workers.values():
            for remote in worker.sessions.values():
                remote.ended("the advisor listens for workers no more")
        if self._socket is not None:
            self._socket.close(linger=0)
        if self._authenticator is not None:
            self._authenticator.stop()
        if self._context is not None:
            self._context.destroy(linger=0)
        self._context = self._socket = self._authenticator = None

    def crew(self, count: int, wait: float) -> Crew:
        """The generators of a run: as many as are connected, at least `count` within `wait` seconds."""
        known: dict[str, _Worker] = {}

        async def gather() -> Sequence[Member]:
            await self._wait_for(count, wait)
            return newcomers()

        def newcomers() -> Sequence[Member]:
            # One that was lost and has come again is new: it has no session of this run any more.
            found = [name for name in self.names if known.get(name) is not self._workers[name]]
            known.update({name: self._workers[name] for name in found})
            return [self._remote(name) for name in found]

        return Crew(gather, newcomers)

    async def _wait_for(self, count: int, wait: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while len(self._workers) < count:
                    self.joined.clear()
                    await self.joined.wait()
        if len(self._workers) < count:
            came = ", ".join(self.names) or "none"
            raise EngineFailed(
                f"{len(self._workers)} of {count} workers came to port {self.port} in {wait:g} s: {came}",
                hint=f"start them with: capacity-advisor worker --master HOST:{self.port}",
            )

    def _remote(self, name: str) -> Remote:
        remote = Remote(self, name, next(self._numbers))
        self._workers[name].sessions[remote._session] = remote  # noqa: SLF001 - the same module
        return remote

    def forget(self, name: str, session: bytes) -> bool:
        """A session is over; False when it was before."""
        worker = self._workers.get(name)
        return worker is not None and worker.sessions.pop(session, None) is not None

    def offset(self, name: str) -> float:
        """See `Remote.offset`."""
        worker = self._workers.get(name)
        if worker is None or not worker.pings:
            return 0.0
        fastest = sorted(worker.pings)[:3]
        return statistics.median(offset for _, offset in fastest)

    async def tell(self, name: str, *frames: bytes) -> None:
        """Send to a worker.

        Raises:
            EngineFailed: it is gone.
        """
        if self._socket is None:
            raise EngineFailed("the advisor listens for workers no more")
        try:
            await self._socket.send_multipart([name.encode(), *frames])
        except zmq.ZMQError:
            self._lose(name)
            raise EngineFailed(f"worker '{name}' is gone") from None

    def _lose(self, name: str) -> None:
        worker = self._workers.pop(name, None)
        if worker is not None:
            for remote in worker.sessions.values():
                remote.ended(f"worker '{name}' is gone: its connection broke")

    async def _ping(self) -> None:
        while True:
            for name in list(self._workers):
                with contextlib.suppress(EngineFailed):
                    await self.tell(name, b"ping", json.dumps(time.monotonic()).encode())
            await asyncio.sleep(_PING_SECONDS)

    async def _listen(self) -> None:
        assert self._socket is not None
        while True:
            identity, *frames = await self._socket.recv_multipart()
            try:
                await self._hear(identity.decode(), *frames)
            except (LookupError, TypeError, ValueError) as error:  # of another version; the others go on
                _log.warning("a worker said what is not understood here: %s", error)

    async def _hear(self, name: str, kind: bytes, *frames: bytes) -> None:
        match kind:
            case b"hello":
                await self._welcome(name, json.loads(frames[0]))
            case b"pong":
                self._measure(name, *json.loads(frames[0]))
            case b"line" | b"ended":
                self._deliver(name, kind, *frames)

    async def _welcome(self, name: str, said: dict[str, Any]) -> None:
        if said["version"] != package_version():
            why = f"the advisor has version {package_version()}, the worker {said['version']}"
            with contextlib.suppress(EngineFailed):
                await self.tell(name, b"refused", why.encode())
            return
        self._lose(name)  # the sessions of one that comes again are over
        self._workers[name] = _Worker()
        self.joined.set()

    def _measure(self, name: str, sent: float, theirs: float) -> None:
        now = time.monotonic()
        worker = self._workers.get(name)
        if worker is not None:
            worker.pings.append((now - sent, theirs - (sent + now) / 2))

    def _deliver(self, name: str, kind: bytes, session: bytes, text: bytes) -> None:
        worker = self._workers.get(name)
        remote = worker.sessions.get(session) if worker else None
        if remote is None:
            return
        if kind == b"line":
            remote.heard(text)
        else:
            remote.ended(f"worker '{name}': {text.decode()}")


class _Only:
    """Lets in who has the one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002 - as pyzmq calls it
        """Is it the one?"""
        return key == self._key


def guarded(context: zmq.asyncio.Context, kind: int, keys: tuple[bytes, bytes]) -> zmq.asyncio.Socket:
    """A socket with keys and heartbeats that holds back nothing."""
    socket: zmq.asyncio.Socket = context.socket(kind)
    socket.curve_publickey, socket.curve_secretkey = keys
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _SILENCE_MS)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.LINGER, 0)
    return socket
