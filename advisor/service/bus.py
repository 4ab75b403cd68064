"""News of a run for whoever watches: numbered, kept while it runs, never waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

KEPT = 2000  # news of one run: half an hour of seconds; the oldest give way


class News(StrEnum):
    """What happened. The keys of each one's data are drawn in `advisor.service.news`."""

    STARTED = "started"
    STAGE_START = "stage_start"
    SECOND = "second"
    STAGE_END = "stage_end"
    CHANGE = "change"  # the hook is called
    ESTIMATE = "estimate"  # the fit between two stages
    FITTING = "fitting"  # the load is over, the answer is being computed
    VERDICT = "verdict"
    DONE = "done"  # always the last


@dataclass(frozen=True, slots=True)
class RunEvent:
    """`number` counts from 1 in each run; `data` is plain JSON; `at` is Unix time."""

    number: int
    kind: News
    run_id: str
    at: float
    data: Mapping[str, object]


class Feed:
    """The news of one run. A watcher that is slower than `KEPT` news loses the oldest, and only it."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._kept: deque[RunEvent] = deque(maxlen=KEPT)
        self._watchers: set[asyncio.Event] = set()
        self._count = 0
        self.closed = False

    def publish(self, kind: News, at: float, data: Mapping[str, object]) -> None:
        """Add one; after `DONE` there is no more. Never blocks."""
        self._count += 1
        self._kept.append(RunEvent(self._count, kind, self.run_id, at, data))
        self.closed = kind is News.DONE
        for watcher in self._watchers:
            watcher.set()

    async def watch(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """All that is kept with a number above `after`, then each as it comes; ends after `DONE`."""
        wake = asyncio.Event()
        self._watchers.add(wake)
        try:
            while True:
                wake.clear()
                for event in [event for event in self._kept if event.number > after]:
                    after = event.number
                    yield event
                if self.closed and after >= self._count:
                    return
                await wake.wait()
        finally:
            self._watchers.discard(wake)
