"""The advisor's side of the load generator: a process of its own, driven over pipes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from advisor import errors
from advisor.domain import RequestLog, Stage, StageResult, StreamLog
from advisor.loadtest import protocol
from advisor.loadtest.protocol import Closed, Failure, Ready, SecondRecord, Setup, StageEnd

_LINE_LIMIT = 256 * 2**20  # a second of columns at the highest rate is far below
_START_SECONDS = 60.0  # importing the generator takes seconds on a busy machine
_CLOSE_SECONDS = 5.0
_STDERR_LINES = 40


class Engine:
    """One load generator. Not for concurrent use: one stage at a time.

    `async with await Engine.started(setup) as engine:` or start() and close() by hand.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._stderr_reader: asyncio.Task[None] | None = None
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
        """Of the generator, once started."""
        return self._process.pid if self._process else None

    async def start(self, setup: Setup) -> None:
        """Start the process and hand it the setup.

        Raises:
            NotAllowed: the target's host is not loopback and not allowed.
            TargetUnreachable: its name does not resolve.
            EngineFailed: the generator did not come up.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "advisor.loadtest.engine",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            start_new_session=True,  # Ctrl-C is ours to judge, and so is its share of the CPU
        )
        self._stderr_reader = asyncio.create_task(self._keep_stderr())
        try:
            await self._send(protocol.encode(setup))
            async with asyncio.timeout(_START_SECONDS):
                message = await self._receive()
        except TimeoutError:
            await self._kill()
            raise errors.EngineFailed(
                f"the load generator was not ready within {_START_SECONDS:.0f} s" + self._tail()
            ) from None
        except errors.AdvisorError:
            await self._kill()
            raise
        if not isinstance(message, Ready):
            await self._kill()
            raise errors.EngineFailed(
                f"the load generator said {message!r} instead of 'ready'" + self._tail()
            )
        self.ready = message
        self.kinds = [kind.name for kind in setup.kinds]
        self._has_users = setup.locustfile is not None

    async def run_stage(self, stage: Stage) -> AsyncIterator[SecondRecord | StageResult]:
        """Run one stage: yields a `SecondRecord` each second as it comes, and last the `StageResult`.

        After `abort()` the last result holds what was measured until then.

        Raises:
            EngineFailed: the generator died, with the end of what it wrote to stderr.
        """
        if self._running:
            raise errors.EngineFailed(f"stage '{stage.name}' cannot start: the last stage has not ended")
        self._running, self._has_last_word = True, self._has_users
        await self._send(protocol.encode(stage))
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
                    f"the load generator said {message!r} in the middle of a stage" + self._tail()
                )

    async def finish(self) -> None:
        """End the running stage before its time: nothing more is sent, what is in flight may end."""
        if self._running:
            await self._send(protocol.FINISH)

    async def abort(self) -> None:
        """Stop the load at once. A running stage still yields its result; then the generator exits."""
        if self._process and self._process.returncode is None:
            await self._send(protocol.ABORT)

    async def close(self) -> None:
        """End the generator; safe to call at any time, also twice."""
        process = self._process
        if process is None:
            return
        await self._last_word()
        if process.returncode is None and process.stdin:
            process.stdin.close()  # end of input ends it
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._stderr_reader:
            await self._stderr_reader
            self._stderr_reader = None

    async def _last_word(self) -> None:
        """What a locustfile's listeners say at the end; none of a generator that has died."""
        if not self._has_last_word:
            return
        self._has_last_word = False
        with contextlib.suppress(errors.EngineFailed, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._send(protocol.CLOSE)
                while not isinstance(message := await self._receive(), Closed):
                    pass
                self.exit_code = message.exit_code

    async def _send(self, line: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise errors.EngineFailed("the load generator was not started")
        try:
            process.stdin.write(line)
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            await self._died()

    async def _receive(self) -> protocol.Message | str:
        process = self._process
        if process is None or process.stdout is None:
            raise errors.EngineFailed("the load generator was not started")
        line = await process.stdout.readline()
        if not line:
            await self._died()
        try:
            message = protocol.decode(line)
        except ValueError as error:
            raise errors.EngineFailed(
                f"the load generator broke its protocol: {error}" + self._tail()
            ) from None
        if isinstance(message, Failure):
            raise _ERRORS.get(message.key, errors.EngineFailed)(message.message, hint=message.hint)
        return message

    async def _died(self) -> None:
        assert self._process is not None
        code = await self._process.wait()
        if self._stderr_reader:
            await self._stderr_reader
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise errors.EngineFailed(f"the load generator ended {how}" + self._tail())

    async def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _keep_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._stderr.append(line.decode(errors="replace").rstrip())

    def _tail(self) -> str:
        return ":\n" + "\n".join(self._stderr) if self._stderr else ""


_ERRORS = {
    name: getattr(errors, name)
    for name in ("NotAllowed", "TargetUnreachable", "ConfigurationError", "PayloadRejected", "EngineFailed")
}
