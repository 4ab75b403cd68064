"""Connections to the model server: the last one used is used again first, so that the rest can close."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from exporters.proxy.replies import CONNECT_TIMEOUT, REFUSED, UNREACHABLE

if TYPE_CHECKING:
    from exporters.proxy.exchange import Exchange
    from exporters.proxy.upstream import Upstream


class Pool:
    """Idle connections, and the way to a new one."""

    __slots__ = ("_address", "_connect_timeout", "_connecting", "_idle", "_make", "in_use")

    MOST_IDLE = 1024

    def __init__(
        self, address: tuple[str, int], connect_timeout: float, make: Callable[[], Upstream]
    ) -> None:
        self._address = address
        self._connect_timeout = connect_timeout
        self._make = make
        self._idle: list[Upstream] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self.in_use = 0

    @property
    def idle(self) -> int:
        """How many wait to be used again."""
        return len(self._idle)

    def take(self) -> Upstream | None:
        """The connection used last, or None."""
        if not self._idle:
            return None
        self.in_use += 1
        return self._idle.pop()

    def put(self, upstream: Upstream) -> None:
        """Give back a connection on which another request may follow."""
        self.in_use -= 1
        if len(self._idle) < self.MOST_IDLE:
            upstream.rest()
            self._idle.append(upstream)
        else:
            upstream.close()

    def drop(self) -> None:
        """A connection that was in use is gone."""
        self.in_use -= 1

    def forget(self, upstream: Upstream) -> None:
        """An idle connection has ended."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    def sweep(self, elapsed: float, longest: float) -> None:
        """Called every `elapsed` seconds: close what has been idle for `longest` and more.

        Servers close idle connections too, so be first.
        """
        kept: list[Upstream] = []
        for upstream in self._idle:
            upstream.idle_seconds += elapsed
            if upstream.idle_seconds > longest:
                upstream.close()
            else:
                kept.append(upstream)
        self._idle[:] = kept

    async def close(self) -> None:
        """Close what is idle, give up what is being opened; nothing is in use any more."""
        self.sweep(float("inf"), 0.0)
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        await asyncio.sleep(0.01)  # the connections themselves end in the loop's next rounds

    def open_for(self, exchange: Exchange) -> None:
        """Open a connection and hand it to `exchange`, or tell it why there is none."""
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._connecting.add(task)  # the loop itself keeps no reference
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, upstream = await loop.create_connection(self._make, *self._address)
        except TimeoutError:
            exchange.fail(CONNECT_TIMEOUT)
        except ConnectionRefusedError:
            exchange.fail(REFUSED)
        except (OSError, socket.gaierror):
            exchange.fail(UNREACHABLE)
        else:
            self.in_use += 1
            exchange.connected(upstream)
