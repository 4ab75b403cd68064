"""Start a server, wait until it answers, and end it: by its own process id, never by name."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import httpx

from advisor.errors import AdvisorError

_PR_SET_PDEATHSIG = 1
# Below those that the system hands out itself (32 768 and up): nobody gets ours before our server listens.
_PORTS = range(10_000, 32_000)


def free_port(wanted: int | None = None) -> int:
    """`wanted` when nobody listens there, else one that is drawn and free."""
    for port in (wanted, *random.sample(_PORTS, 100)):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AdvisorError("no free port on 127.0.0.1")


def _prepare(nice: int) -> None:
    # A killed demo leaves no server behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(nice)


@contextlib.contextmanager
def server(
    name: str, command: Sequence[str], ready_url: str, log: Path, *, nice: int = 0, wait: float = 60.0
) -> Iterator[None]:
    """Run `command` while the context lasts; entered once `ready_url` answers 200.

    `nice` lowers its priority: a model that shares two cores with its load test must not starve it.

    Raises:
        AdvisorError: it ended, or did not answer within `wait` seconds; with the end of its log.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=partial(_prepare, nice),  # noqa: PLW1509 - no thread runs yet
        )
    try:
        _wait_until_ready(name, process, ready_url, log, wait)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], url: str, log: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AdvisorError(f"the {name} ended with status {process.returncode}", hint=_tail(log))
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2.0).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise AdvisorError(f"the {name} did not answer at {url} within {wait:.0f} s", hint=_tail(log))


def _tail(log: Path, lines: int = 12) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return f"the end of {log}:\n" + "\n".join(text)
