"""Holds a lease as long as it is wanted: renews it each second, and says when it was lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError

from advisor.service.threads import StoreThreads
from advisor.store import Owner, Store

HEARTBEAT = 1.0  # s
LEASE = 10.0  # s; a holder that is silent for so long has lost it

_log = logging.getLogger(__name__)


class Keeper:
    """One lease of this process. `lost` is called once, when another took it or the store was silent."""

    def __init__(
        self,
        store: Store,
        threads: StoreThreads,
        owner: Owner,
        name: str,
        *,
        lost: Callable[[str], None],
        each: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._threads = threads
        self._owner = owner
        self._lost = lost
        self._each = each  # awaited with each heartbeat
        self._task: asyncio.Task[None] | None = None

    async def take(self) -> bool:
        """Take the lease and keep it; False when another holds it."""
        if not await self._threads(self._take):
            return False
        self._task = asyncio.create_task(self._keep())
        return True

    async def release(self) -> None:
        """Stop keeping it, and let go."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        try:
            await self._threads(self._store.leases.release, self.name, self._owner)
        except SQLAlchemyError as error:
            _log.warning("lease %s was not released and will run out: %s", self.name, error)

    def _take(self) -> bool:
        return self._store.leases.take(self.name, self._owner, now=self._store.now(), seconds=LEASE)

    def _renew(self) -> bool:
        return self._store.leases.renew(self.name, self._owner, now=self._store.now(), seconds=LEASE)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        good = loop.time()
        while True:
            await asyncio.sleep(HEARTBEAT)
            began = loop.time()
            try:
                async with asyncio.timeout(LEASE):
                    held = await self._threads(self._renew)
            except (SQLAlchemyError, TimeoutError) as error:
                _log.warning("lease %s could not be renewed: %s", self.name, error)
                if loop.time() - good > LEASE - 2 * HEARTBEAT:
                    self._lost("the store has not answered, and another advisor may have taken over")
                    return
                continue
            if not held:
                self._lost("another advisor has taken over")
                return
            good = began
            if self._each is not None:
                try:
                    await self._each()
                except SQLAlchemyError as error:
                    _log.warning("lease %s is kept, its holder could not ask for news: %s", self.name, error)
