"""The advisor's side of a load generator: stages in, seconds and results out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, Self

from advisor import errors
from advisor.domain import RequestLog, Stage, StageResult, StreamLog
from advisor.loadtest import protocol
from advisor.loadtest.process import Process
from advisor.loadtest.protocol import Closed, Failure, Part, Ready, SecondRecord, Setup, StageEnd

_START_SECONDS = 60.0  # importing the generator takes seconds on a busy machine
_LAST_WORD_SECONDS = 3.0


class Transport(Protocol):
    """Lines to a generator and from it: `process.Process`, or one of another machine."""

    @property
    def alive(self) -> bool:
        """Started, and not over."""

    @property
    def tail(self) -> str:
        """What is known of its troubles; empty, or a colon and lines."""

    async def start(self) -> None:
        """Bring it up."""

    async def send(self, line: bytes) -> None:
        """Hand it a line. Raises EngineFailed where it is gone."""

    async def receive(self) -> bytes:
        """Its next line; empty when it has ended."""

    async def last_words(self) -> str:
        """How it ended."""

    async def close(self) -> None:
        """End it; safe to call twice."""

    async def kill(self) -> None:
        """End it at once."""


class Engine:
    """One load generator, a process of this machine unless told. Not for concurrent use: a stage at a time.

    `async with await Engine.started(setup) as engine:` or start() and close() by hand.
    """

    def __init__(self, transport: Transport | None = None) -> None:
        self._transport = transport or Process()
        self._running = False
        self._has_users = False
        self._has_last_word = False
        self.ready: Ready | None = None
        self.kinds: list[str] = []  # of requests, in the order of their index in the logs
        self.exit_code: int | None = None  # that a listener of a locustfile asked for, once closed

    @classmethod
    async def started(cls, setup: Setup) -> Self:
        """A generator that is set up."""
        engine = cls()
        await engine.start(setup)
        return engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def epoch(self) -> float:
        """Unix time of the run's second 0."""
        if self.ready is None:
            raise errors.EngineFailed("the load generator was not started")
        return self.ready.epoch

    @property
    def pid(self) -> int | None:
        """Of a generator of this machine, once started."""
        return self._transport.pid if isinstance(self._transport, Process) else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of a locustfile is not used."""
        return self.ready.warnings if self.ready else ()

    async def start(self, setup: Setup) -> None:
        """Start the generator and hand it the setup.

        Raises:
            NotAllowed: the target's host is not loopback and not allowed.
            TargetUnreachable: its name does not resolve.
            EngineFailed: the generator did not come up.
        """
        await self._transport.start()
        try:
            await self._transport.send(protocol.encode(setup))
            async with asyncio.timeout(_START_SECONDS):
                message = await self._receive()
        except TimeoutError:
            await self._transport.kill()
            raise errors.EngineFailed(
                f"the load generator was not ready within {_START_SECONDS:.0f} s" + self._transport.tail
            ) from None
        except errors.AdvisorError:
            await self._transport.kill()
            raise
        if not isinstance(message, Ready):
            await self._transport.kill()
            raise errors.EngineFailed(
                f"the load generator said {message!r} instead of 'ready'" + self._transport.tail
            )
        self.ready = message
        self.kinds = [kind.name for kind in setup.kinds]
        self._has_users = setup.locustfile is not None

    async def run_stage(
        self, stage: Stage, part: tuple[int, int] = (0, 1)
    ) -> AsyncIterator[SecondRecord | StageResult]:
        """Run one stage: yields a `SecondRecord` each second as it comes, and last the `StageResult`.

        `part`: (index, of how many) generators that share its arrivals. After `abort()` the last result holds
        what was measured until then.

        Raises:
            EngineFailed: the generator died, with the end of what it wrote to stderr.
        """
        if self._running:
            raise errors.EngineFailed(f"stage '{stage.name}' cannot start: the last stage has not ended")
        self._running, self._has_last_word = True, self._has_users
        index, of = part
        await self._transport.send(protocol.encode(Part(stage, index, of) if of > 1 else stage))
        logs: list[RequestLog] = []
        streams: list[StreamLog] = []
        while True:
            message = await self._receive()
            if isinstance(message, SecondRecord):
                logs.append(message.log)
                self.kinds += message.kinds
                if message.streams is not None:
                    streams.append(message.streams)
                yield message
            elif isinstance(message, StageEnd):
                self._running = False
                yield StageResult(
                    stage=stage,
                    start=message.start,
                    end=message.end,
                    log=RequestLog.concat(logs),
                    dropped=message.dropped,
                    drained=message.drained,
                    dispatch_delay_p99=message.dispatch_delay_p99,
                    generator_cpu=message.cpu,
                    streams=StreamLog.concat(streams),
                )
                return
            else:
                raise errors.EngineFailed(
                    f"the load generator said {message!r} in the middle of a stage" + self._transport.tail
                )

    async def finish(self) -> None:
        """End the running stage before its time: nothing more is sent, what is in flight may end."""
        if self._running:
            await self._transport.send(protocol.FINISH)

    async def abort(self) -> None:
        """Stop the load at once. A running stage still yields its result; then the generator exits."""
        if self._transport.alive:
            await self._transport.send(protocol.ABORT)

    async def close(self) -> None:
        """End the generator; safe to call at any time, also twice."""
        await self._last_word()
        await self._transport.close()

    async def _last_word(self) -> None:
        """What a locustfile's listeners say at the end; none of a generator that has died."""
        if not self._has_last_word:
            return
        self._has_last_word = False
        with contextlib.suppress(errors.EngineFailed, TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._transport.send(protocol.CLOSE)
                while not isinstance(message := await self._receive(), Closed):
                    pass
                self.exit_code = message.exit_code

    async def _receive(self) -> protocol.Message | str:
        line = await self._transport.receive()
        if not line:
            raise errors.EngineFailed(await self._transport.last_words())
        try:
            message = protocol.decode(line)
        except ValueError as error:
            raise errors.EngineFailed(
                f"the load generator broke its protocol: {error}" + self._transport.tail
            ) from None
        if isinstance(message, Failure):
            raise _ERRORS.get(message.key, errors.EngineFailed)(message.message, hint=message.hint)
        return message


_ERRORS = {
    name: getattr(errors, name)
    for name in ("NotAllowed", "TargetUnreachable", "ConfigurationError", "PayloadRejected", "EngineFailed")
}
