"""One TCP connection of the generator, driven by the greenlet that owns it.

Over geventhttpclient's own sockets a request costs about twice the CPU: they ask the kernel before they wait,
and build a waiter for each wait. Here the owner itself is the callback of one lasting read watcher, so an
answer costs one `recv`, and a server that closes an idle connection is noticed at once.
"""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Protocol

import gevent
from gevent import monkey

_Socket = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2
_CHUNK = 65_536
_LOCAL_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})


class OutOfResourcesError(Exception):
    """This machine, not the server, has no more ports, files or memory for a connection."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect. `name` is for TLS; `context` is None for plain HTTP."""

    family: int
    host: str
    port: int
    name: str
    context: ssl.SSLContext | None


class Connection(Protocol):
    """What an exchange needs. Every method is for the owning greenlet alone."""

    def send(self, data: bytes) -> None:
        """Hand all of it to the kernel, waiting where its buffer is full."""

    def receive(self) -> bytes:
        """Wait for the next bytes; empty at the end of the stream."""

    def usable(self) -> bool:
        """Called when an idle connection woke its owner: False when it must be closed."""

    def close(self) -> None:
        """Safe to call twice."""


class Plain:
    """A connection without encryption."""

    __slots__ = ("_hub", "_reader", "_socket", "_wake")

    def __init__(self, address: Address) -> None:
        """Connect; the calling greenlet becomes the owner.

        Raises:
            OutOfResourcesError: no file or port left on this machine.
            OSError: refused, reset, no route.
        """
        self._hub = gevent.get_hub()
        self._wake = gevent.getcurrent().switch
        try:
            self._socket = _Socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            raise OutOfResourcesError(error.strerror) from None
        self._socket.setblocking(False)
        self._reader = self._hub.loop.io(self._socket.fileno(), _READ)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connect((address.host, address.port))
        except BaseException:
            self.close()
            raise
        self._reader.start(self._wake)

    def _connect(self, where: tuple[str, int]) -> None:
        code = self._socket.connect_ex(where)
        while code in (errno.EINPROGRESS, errno.EALREADY, errno.EINTR):
            self._wait_writable()
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                # No error and no peer yet is a wake-up for nothing.
                code = self._socket.connect_ex(where)
                if code == errno.EISCONN:
                    code = 0
        if code in _LOCAL_ERRORS:
            raise OutOfResourcesError(errno.errorcode[code])
        if code:
            raise OSError(code, errno.errorcode.get(code, "connect failed"))

    def send(self, data: bytes) -> None:
        """See `Connection`."""
        try:
            done = self._socket.send(data)
        except BlockingIOError:
            done = 0
        if done == len(data):
            return
        rest = memoryview(data)[done:]
        self._reader.stop()  # an early answer must not wake a greenlet that waits to write
        try:
            while rest:
                self._wait_writable()
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    continue
        finally:
            self._reader.start(self._wake)

    def receive(self) -> bytes:
        """See `Connection`."""
        while True:
            self._hub.switch()
            try:
                return bytes(self._socket.recv(_CHUNK))
            except BlockingIOError:
                continue

    def usable(self) -> bool:
        """See `Connection`. Bytes that nobody asked for are as bad as an end."""
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """See `Connection`."""
        self._reader.stop()
        self._reader.close()
        self._socket.close()

    def _wait_writable(self) -> None:
        writer = self._hub.loop.io(self._socket.fileno(), _WRITE)
        writer.start(self._wake)
        try:
            self._hub.switch()
        finally:
            writer.stop()
            writer.close()


class Tls:
    """A connection with TLS over a plain one."""

    __slots__ = ("_incoming", "_outgoing", "_plain", "_tls")

    def __init__(self, address: Address) -> None:
        """Connect and shake hands. Raises what `Plain` does, and ssl.SSLError (an OSError)."""
        assert address.context is not None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = address.context.wrap_bio(
            self._incoming, self._outgoing, server_side=False, server_hostname=address.name
        )
        self._plain = Plain(address)
        try:
            self._shake_hands()
        except BaseException:
            self._plain.close()
            raise

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            finally:
                self._flush()

    def send(self, data: bytes) -> None:
        """See `Connection`."""
        self._tls.write(data)
        self._flush()

    def receive(self) -> bytes:
        """See `Connection`."""
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def usable(self) -> bool:
        """See `Connection`. Session tickets come after the handshake, and are no reason to close."""
        try:
            data = self._plain._socket.recv(_CHUNK)  # noqa: SLF001 - the same module
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self._incoming.write(data)
        try:
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            return False
        return False

    def close(self) -> None:
        """See `Connection`."""
        self._plain.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._plain.send(self._outgoing.read())

    def _fill(self) -> None:
        data = self._plain.receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def connect(address: Address) -> Connection:
    """A new connection, plain or TLS. Raises as `Plain` and `Tls` do."""
    return Plain(address) if address.context is None else Tls(address)
