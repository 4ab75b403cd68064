"""One of several advisor processes does the background work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from advisor.service.keeper import Keeper
from advisor.service.threads import StoreThreads
from advisor.store import Owner, Store

NAME = "leader"
RETRY = 2.0  # s between two tries to lead
RECOVER_EVERY = 5.0  # s between two looks for runs of dead advisors

_log = logging.getLogger(__name__)


class Duty(Protocol):
    """Work of the leader."""

    async def start(self) -> None:
        """Begin, when this process starts to lead."""

    async def stop(self) -> None:
        """End, when it leads no more."""


class Leadership:
    """Tries to lead until it does, and again when it was lost."""

    def __init__(
        self,
        store: Store,
        threads: StoreThreads,
        owner: Owner,
        duties: Sequence[Duty],
        *,
        recover: Callable[[], Awaitable[object]],
    ) -> None:
        self._store = store
        self._threads = threads
        self._owner = owner
        self._duties = duties
        self._recover = recover
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self.leads = False

    async def start(self) -> None:
        """Begin to try; the first try is over when this returns."""
        first = asyncio.Event()
        self._task = asyncio.create_task(self._try(first))
        await first.wait()

    async def stop(self) -> None:
        """Stop the duties, and let another lead."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _try(self, first: asyncio.Event) -> None:
        while True:
            keeper = Keeper(self._store, self._threads, self._owner, NAME, lost=self._on_lost)
            try:
                if await keeper.take():
                    await self._lead(keeper, first)
            except SQLAlchemyError as error:
                _log.warning("cannot ask for the leadership: %s", error)
            except Exception:  # noqa: BLE001 - the next try may do better, and others may lead
                _log.exception("this process could not lead")
            first.set()
            await asyncio.sleep(RETRY)

    async def _lead(self, keeper: Keeper, first: asyncio.Event) -> None:
        self._lost.clear()
        self.leads = True
        _log.info("this process leads: it runs the schedule and observes production")
        try:
            for duty in self._duties:
                await duty.start()
            first.set()
            while not self._lost.is_set():
                try:
                    await self._recover()
                except SQLAlchemyError as error:
                    _log.warning("cannot look for runs of dead advisors: %s", error)
                try:
                    async with asyncio.timeout(RECOVER_EVERY):
                        await self._lost.wait()
                except TimeoutError:
                    pass
        finally:
            self.leads = False
            for duty in reversed(self._duties):
                await duty.stop()
            await keeper.release()

    def _on_lost(self, why: str) -> None:
        _log.warning("this process leads no more: %s", why)
        self._lost.set()
