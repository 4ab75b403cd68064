"""The news of a run as the store tells them: of one that is over, or of another process (a second late)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from advisor.domain import Run, RunStatus
from advisor.errors import NotFound
from advisor.service import news
from advisor.service.bus import News, RunEvent
from advisor.service.threads import StoreThreads
from advisor.store import Store

POLL = 1.0  # s


class Tail:
    """One watcher's look at one run. Estimates between stages are not in the store, and not told."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._begun = 0  # stages whose start was told
        self._over = 0  # stages whose end was told
        self._seconds = 0  # of the stage under way

    def look(self) -> tuple[Run, list[tuple[News, news.Data]]]:
        """The run now, and what is new since the last look. Blocks.

        Raises:
            NotFound: no such run.
        """
        run = self._store.runs.head(self._run_id)
        if run is None:
            raise NotFound(f"run '{self._run_id}' does not exist")
        found = list(self._new())
        if run.status is not RunStatus.RUNNING:
            if run.verdict is not None:
                found.append((News.VERDICT, news.verdict(run)))
            found.append((News.DONE, news.done(run)))
        return run, found

    def _new(self) -> Iterator[tuple[News, news.Data]]:
        for position, stage in enumerate(self._store.runs.stages(self._run_id)):
            if position < self._over:
                continue
            if position == self._begun:
                self._begun += 1
                yield News.STAGE_START, news.stage_start(position, stage.stage)
            if not stage.over:
                for second in self._store.runs.seconds(self._run_id, position, self._seconds):
                    self._seconds += 1
                    yield News.SECOND, news.second(position, stage.stage.name, second)
            else:
                self._over, self._seconds = self._over + 1, 0
                yield News.STAGE_END, news.stage_end(position, stage)


async def tail(store: Store, threads: StoreThreads, run_id: str, after: int = 0) -> AsyncIterator[RunEvent]:
    """As `Feed.watch`, with numbers of its own; a watcher that comes back is told the end in any case.

    Raises:
        NotFound: no such run.
    """
    view = Tail(store, run_id)
    number = 0
    while True:
        run, found = await threads(view.look)
        if number == 0:
            found.insert(0, (News.STARTED, news.started(run)))
        at = run.ended_at or run.started_at
        for kind, data in found:
            number = max(number, after) + 1 if kind in {News.VERDICT, News.DONE} else number + 1
            if number > after:
                yield RunEvent(number, kind, run_id, at, data)
        if run.status is not RunStatus.RUNNING:
            return
        await asyncio.sleep(POLL)
