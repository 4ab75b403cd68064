"""Hooks that are commands: run without a shell, bounded in time, ended with all that they started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import tempfile
from typing import IO

import httpx

from advisor.errors import ConfigurationError
from advisor.loadtest.hook import HookResult
from advisor.settings import HookSettings
from advisor.settings.conduct import REPLICAS
from advisor.units import format_seconds

_KEPT_LINES = 20
_KEPT_BYTES = 8192
_GRACE_SECONDS = 5.0  # between the request to end and the end
_PROBE_EVERY = 0.5


class CommandHook:
    """`advisor.loadtest.hook.Hook` by a command of the configuration or of the command line."""

    def __init__(self, settings: HookSettings) -> None:
        """Raises ConfigurationError where there is no such program."""
        self._settings = settings
        self.what = shlex.join(settings.command)
        if shutil.which(settings.command[0]) is None:
            raise ConfigurationError(
                f"the hook cannot run: there is no program '{settings.command[0]}'",
                hint="give its whole path, or see that PATH has its folder",
            )

    async def __call__(self, replicas: int | None = None) -> HookResult:
        """Run it, and wait until `ready_url` answers, where there is one; all within its time limit."""
        command = [part.replace(REPLICAS, str(replicas)) for part in self._settings.command]
        with tempfile.TemporaryFile() as output:
            return await self._call(command, output)

    async def _call(self, command: list[str], output: IO[bytes]) -> HookResult:
        code = problem = None
        limit = format_seconds(self._settings.timeout)
        try:
            async with asyncio.timeout(self._settings.timeout):
                code = await _run(command, output)
                if code == 0 and self._settings.ready_url is not None:
                    await _answers(self._settings.ready_url)
        except TimeoutError:
            stuck = f"{self._settings.ready_url} did not answer" if code == 0 else "it was not done"
            problem = f"{stuck} within {limit}"
        except OSError as error:
            problem = f"it cannot be started: {error.strerror or error}"
        lines = _last_lines(output)
        if code:
            how = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
            problem = f"{how}: {lines[-1]}" if lines else how
        if problem is not None:
            problem = f"the hook '{shlex.join(command)}' failed: {problem}"
        return HookResult(code, lines, problem)


async def _run(command: list[str], output: IO[bytes]) -> int:
    """Exit code."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,  # no pipe: what the command leaves in the background may hold it open
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # so that it can be ended with its children
    )
    try:
        return await process.wait()
    except BaseException:
        await _end(process)
        raise


def _last_lines(output: IO[bytes]) -> tuple[str, ...]:
    output.seek(max(output.seek(0, os.SEEK_END) - _KEPT_BYTES, 0))
    return tuple(output.read().decode(errors="replace").splitlines()[-_KEPT_LINES:])


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the whole group to end, and end what is left of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _answers(url: str) -> None:
    """Wait until the URL answers with a status below 400."""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=2.0) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).status_code < 400:
                    return
            await asyncio.sleep(_PROBE_EVERY)
