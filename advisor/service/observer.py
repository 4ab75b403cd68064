"""Watches production: windows and requests of each target, in the store. Gaps stay gaps."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

import httpx
from sqlalchemy.exc import SQLAlchemyError

from advisor.domain import Spell, Window
from advisor.service.background import Background
from advisor.service.rings import Rings, Stored
from advisor.service.sidecars import Sidecars, observable
from advisor.service.threads import StoreThreads
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import ServiceEvent, Store

THINNED = {7 * 86400.0: 300, 2 * 86400.0: 60}  # from that age (s) on, windows of so many seconds are enough
PATIENCE = 4  # readings in a row that lack a replica before the others are taken for all there are
LONGEST = 3.0  # intervals; a window that spans more has a gap in it
RINGS_EVERY = 4  # windows; a ring holds the last 100 000 requests
SPELLS = 7 * 86400.0  # s; older requests are another week's
_HOUSEKEEPING = 600.0  # s

_log = logging.getLogger(__name__)


class Watch:
    """One target's production."""

    def __init__(
        self,
        target: TargetSettings,
        client: httpx.AsyncClient,
        every: float,
        stored: Stored,
    ) -> None:
        self.target = target.name
        self._every = every
        self._remembered = target.observe.prometheus is not None  # there: nothing is kept twice
        self._sidecars = Sidecars(target.observe, client, timeout=min(every, 5.0))
        self._rings = Rings(client, stored=stored)
        self._failures = 0
        self._told: str | None = None

    async def window(self) -> Window | None:
        """Since the last call; None with nothing to read, or when what was read is not the whole target."""
        window = await self._sidecars()
        self._failures = self._failures + 1 if self._sidecars.problems else 0
        if window is None or window.seconds > LONGEST * self._every:
            return None
        if self._remembered:
            return None
        # A sum that lacks a replica is no demand of the target, unless the replica is gone for good.
        if not self._sidecars.complete and self._failures < PATIENCE:
            return None
        return window

    async def spells(self) -> list[Spell]:
        """Requests that ended since the last call, once they are enough to keep."""
        return await self._rings(self._sidecars.urls)

    def news(self) -> str | None:
        """A sentence when the sidecars became unreadable, or readable again."""
        problem = "; ".join(self._sidecars.problems) if self._failures >= PATIENCE else None
        if (problem is None) == (self._told is None):
            return None
        before, self._told = self._told, problem
        return problem or f"the sidecars can be read again (before: {before})"

    def forget(self) -> None:
        """What comes next is not continued from what was: a load test was on."""
        self._sidecars.forget()
        self._rings.forget()


class Observer(Background):
    """A duty of the leader. A load test is no demand: while one is on, nothing is recorded."""

    def __init__(
        self,
        settings: AdvisorSettings,
        store: Store,
        threads: StoreThreads,
        version: Callable[[TargetSettings], str | None] = lambda target: target.version,
    ) -> None:
        self._settings = settings
        self._version = version
        self._store = store
        self._threads = threads
        self._ticks = 0

    async def _loop(self) -> None:
        every = self._settings.observe_every
        loop = asyncio.get_running_loop()
        async with httpx.AsyncClient(follow_redirects=False) as client:
            seen = [target for target in self._settings.targets if observable(target.observe)]
            watches = [
                Watch(target, client, every, partial(self._known_until, target.name)) for target in seen
            ]
            next_tick, next_housekeeping = loop.time(), loop.time()
            while True:
                await asyncio.sleep(max(next_tick - loop.time(), 0.0))
                next_tick = max(next_tick + every, loop.time())
                try:
                    await self.tick(watches)
                    if loop.time() >= next_housekeeping:
                        next_housekeeping = loop.time() + _HOUSEKEEPING
                        await self._threads(self._keep_house, time.time())
                except SQLAlchemyError as error:
                    _log.warning("windows could not be stored: %s", error)
                except Exception:  # noqa: BLE001 - one odd answer must not end the observation of all
                    _log.exception("a reading of the sidecars failed")

    async def tick(self, watches: list[Watch]) -> None:
        """One reading of all targets, stored in one transaction."""
        busy = await self._under_load()
        for watch in watches:
            if watch.target in busy:
                watch.forget()
        idle = [watch for watch in watches if watch.target not in busy]
        windows = await asyncio.gather(*(watch.window() for watch in idle))
        # A run that began during the reading is in it.
        busy |= await self._under_load()
        found = {
            watch.target: window
            for watch, window in zip(idle, windows, strict=True)
            if window is not None and watch.target not in busy
        }
        if found:
            await self._threads(self._store.windows.append, found)
        self._ticks += 1
        if self._ticks % RINGS_EVERY == 0:
            await self._read_rings([watch for watch in idle if watch.target not in busy])
        for watch in idle:
            news = watch.news()
            if news is not None:
                event = ServiceEvent(time.time(), "observe", news, watch.target)
                await self._threads(self._store.events.add, event)

    async def _read_rings(self, watches: list[Watch]) -> None:
        spells = await asyncio.gather(*(watch.spells() for watch in watches))
        busy = await self._under_load()
        found: dict[str, list[Spell]] = {}
        for watch, new in zip(watches, spells, strict=True):
            if watch.target in busy:
                watch.forget()
            elif new:
                found[watch.target] = new
        if found:
            versions = {target.name: self._version(target) for target in self._settings.targets}
            await self._threads(self._store.production.append, found, versions)

    async def _under_load(self) -> set[str]:
        recorded = await self._threads(self._store.runs.owners)
        return {target for target, _ in recorded.values()}

    async def _known_until(self, target: str, source: str) -> float | None:
        """What ended before is stored, or was a load test's."""
        stored = await self._threads(self._store.production.newest, target, source)
        loaded = await self._threads(self._store.runs.last_ended, (target,))
        return max((at for at in (stored, loaded.get(target)) if at is not None), default=None)

    def _keep_house(self, now: float) -> None:
        self._store.windows.pack(now=now)
        for age, seconds in THINNED.items():
            self._store.windows.thin(before=now - age, seconds=seconds)
        kept = self._settings.retention
        self._store.windows.prune(before=now - kept.production)
        self._store.production.prune(before=now - min(SPELLS, kept.production))
        self._store.events.prune(before=now - kept.production)
        if kept.runs is not None:
            self._store.runs.prune(before=now - kept.runs)
