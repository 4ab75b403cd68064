"""What is new in the rings of events of a target's sidecars: spells of production, of one replica each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import httpx

from advisor.domain import RequestLog, Spell
from advisor.observe import EventReader, Events
from exporters.names import EVENTS_PATH

ENOUGH = 500  # requests of a spell that is worth a row
PATIENCE = 20  # readings after which fewer are
_SAME = 1e-5  # s; times are kept in whole microseconds

Stored = Callable[[str], Awaitable[float | None]]


class Rings:
    """The sidecars of one target. What was read and is not yet a spell is in memory alone: after a restart of
    the advisor the rings still hold it.

    `stored(source)` tells up to when (Unix s) the requests of a replica are known; called once for each.
    """

    def __init__(self, client: httpx.AsyncClient, *, stored: Stored) -> None:
        self._client = client
        self._stored = stored
        self._replicas: dict[str, _Replica] = {}

    async def __call__(self, urls: Sequence[str]) -> list[Spell]:
        """Read the sidecars behind these metrics URLs; gives the spells that are complete now."""
        for gone in self._replicas.keys() - set(urls):
            del self._replicas[gone]
        for url in urls:
            if url not in self._replicas:
                self._replicas[url] = _Replica(url, self._client, await self._stored(url))
        read = await asyncio.gather(*(self._replicas[url].read() for url in urls))
        return [spell for spells in read for spell in spells]

    def forget(self) -> None:
        """What ended until the next reading is no production: a load test was on."""
        for replica in self._replicas.values():
            replica.forget()


class _Replica:
    """One ring. All times are the sidecar's, so that its clock need not be the advisor's."""

    def __init__(self, url: str, client: httpx.AsyncClient, stored: float | None) -> None:
        self._url = url
        events = urlsplit(url)._replace(path=EVENTS_PATH, query="").geturl()
        self._reader = EventReader(events, client)
        self._last = stored  # the end of the last request that was seen
        self._first = True
        self._skip = False
        self._began: float | None = None
        self._kept: list[RequestLog] = []
        self._readings = 0

    def forget(self) -> None:
        self._kept, self._began, self._readings, self._skip = [], None, 0, True

    async def read(self) -> list[Spell]:
        read = await self._reader.read()
        if not isinstance(read, Events):
            return []
        log, joined = read.log, read.complete
        if self._first and self._last is not None:
            known = log.end <= self._last + _SAME
            log, joined = log.select(~known), bool(known.any())
        self._first = False
        if self._skip:
            self._skip = False
            self._last = float(log.end.max()) if len(log) else self._last
            return []
        found = [] if joined else self._closed(joined=False)
        if len(log):
            if self._began is None:
                self._began = self._last if joined and self._last is not None else float(log.end.min())
            self._last = float(log.end.max())
            self._kept.append(log)
        self._readings += 1
        if sum(map(len, self._kept)) >= ENOUGH or self._readings >= PATIENCE:
            found += self._closed(joined=True)
        return found

    def _closed(self, *, joined: bool) -> list[Spell]:
        """What was kept, as a spell; what comes next follows it, or begins anew."""
        log, began, last = RequestLog.concat(self._kept), self._began, self._last
        self._kept, self._readings = [], 0
        self._began = last if joined else None
        return (
            [Spell(self._url, began, last, log)]
            if len(log) and began is not None and last is not None
            else []
        )
