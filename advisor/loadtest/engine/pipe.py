"""Lines in on stdin, lines out on stdout, without ever holding up the load."""

from __future__ import annotations

import os
from collections.abc import Iterator

import gevent
from gevent import os as gevent_os
from gevent.event import Event

_CHUNK = 65_536


def private_stdout() -> int:
    """A descriptor for the messages alone: whatever else prints to stdout goes to stderr from now on."""
    fd = os.dup(1)
    os.dup2(2, 1)
    return fd


class Output:
    """Writes whole lines in order; a slow reader costs memory, not time."""

    def __init__(self, fd: int) -> None:
        gevent_os.make_nonblocking(fd)
        self._fd = fd
        self._lines: list[bytes] = []
        self._wake, self._empty = Event(), Event()
        self._empty.set()
        self._greenlet = gevent.spawn(self._run)

    def write(self, line: bytes) -> None:
        """Returns at once."""
        self._lines.append(line)
        self._empty.clear()
        self._wake.set()

    def flush(self, seconds: float) -> None:
        """Wait until all is written, at most so long."""
        self._empty.wait(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            lines, self._lines = self._lines, []
            for line in lines:
                rest = memoryview(line)
                while rest:
                    try:
                        rest = rest[gevent_os.nb_write(self._fd, bytes(rest[:_CHUNK])) :]
                    except BrokenPipeError:
                        os._exit(1)  # nobody listens: a generator alone must not go on
            if not self._lines:
                self._empty.set()


def lines(fd: int) -> Iterator[bytes]:
    """Lines from a pipe until its end, an unfinished last one left out."""
    gevent_os.make_nonblocking(fd)
    parts: list[bytes] = []
    while data := gevent_os.nb_read(fd, _CHUNK):
        *complete, rest = data.split(b"\n")
        for piece in complete:
            yield b"".join([*parts, piece])
            parts = []
        if rest:
            parts.append(rest)
