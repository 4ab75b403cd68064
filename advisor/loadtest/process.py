"""The load generator as a process of this machine, spoken to over its pipes."""

from __future__ import annotations

import asyncio
import sys
from collections import deque

from advisor.errors import EngineFailed

_LINE_LIMIT = 256 * 2**20  # a second of columns at the highest rate is far below
_CLOSE_SECONDS = 5.0
_STDERR_LINES = 40


class Process:
    """Lines in, lines out. It ends with its input, and with the process that started it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._stderr_reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Once started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Started, and not over."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it."""
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

    async def send(self, line: bytes) -> None:
        """Hand it a line.

        Raises:
            EngineFailed: it is not there any more.
        """
        stdin = self._process.stdin if self._process else None
        if stdin is None:
            raise EngineFailed("the load generator was not started")
        try:
            stdin.write(line)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise EngineFailed(await self.last_words()) from None

    async def receive(self) -> bytes:
        """Its next line; empty when it has ended.

        Raises:
            EngineFailed: it was not started.
        """
        if self._process is None or self._process.stdout is None:
            raise EngineFailed("the load generator was not started")
        return await self._process.stdout.readline()

    async def last_words(self) -> str:
        """How it ended, with the end of what it wrote to stderr. Waits until it has."""
        assert self._process is not None
        code = await self._process.wait()
        if self._stderr_reader:
            await self._stderr_reader
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return f"the load generator ended {how}" + self.tail

    @property
    def tail(self) -> str:
        """The end of what it wrote to stderr."""
        return ":\n" + "\n".join(self._stderr) if self._stderr else ""

    async def close(self) -> None:
        """End its input, and it if it does not follow; safe to call at any time, also twice."""
        process = self._process
        if process is None:
            return
        if process.returncode is None and process.stdin:
            process.stdin.close()
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await process.wait()
            except TimeoutError:
                await self.kill()
        if self._stderr_reader:
            await self._stderr_reader
            self._stderr_reader = None

    async def kill(self) -> None:
        """End it at once."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _keep_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._stderr.append(line.decode(errors="replace").rstrip())
