"""Serves the application until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from advisor.api.app import create_app
from advisor.api.security import Access
from advisor.api.stopping import stop_streams
from advisor.errors import ConfigurationError
from advisor.service.app import Advisor

_GRACE = 5  # s for answers under way


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; taken before anything else starts, so that a port in use is told at once.

    Raises:
        ConfigurationError: the address is in use, forbidden, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigurationError(f"cannot listen on '{host}': {error.strerror}") from None
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(256)
    except OSError as error:
        sock.close()
        hint = {
            errno.EADDRINUSE: "end the process that holds it, or choose another with --listen",
            errno.EACCES: "ports below 1024 need more rights: choose another with --listen",
            errno.EADDRNOTAVAIL: "listen on an address of this machine",
        }.get(error.errno or 0)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(f"cannot listen on {host}:{port}: {reason}", hint=hint) from None
    sock.set_inheritable(False)
    return sock


class _Server(uvicorn.Server):
    """Says when it answers, and ends the streams as soon as it is told to stop: it would wait for them."""

    def __init__(
        self, config: uvicorn.Config, on_start: Callable[[], None], on_exit: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._on_exit = on_exit

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the base does, then tell."""
        await super().startup(sockets)
        self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As the base does, and the streams with it."""
        self._on_exit()
        super().handle_exit(sig, frame)


async def serve(
    advisor: Advisor, access: Access, sock: socket.socket, started: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then end the runs and keep what they measured.

    `started` is told the URL once requests are answered.
    """
    app = create_app(advisor, access)
    loop = asyncio.get_running_loop()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )

    def end_streams() -> None:
        loop.call_soon_threadsafe(stop_streams, app)

    server = _Server(config, lambda: started(url_of(sock)), end_streams)
    async with advisor:
        with _signals_end_here():
            await server.serve(sockets=[sock])


@contextlib.contextmanager
def _signals_end_here() -> Iterator[None]:
    """Uvicorn raises a signal once more after its shutdown; asked-for ends are no failure here."""
    previous = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Nothing is left to do."""


def url_of(sock: socket.socket) -> str:
    """`http://127.0.0.1:8000`; an address of all interfaces is shown as this machine."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"
