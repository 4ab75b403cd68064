"""Runs by the clock: cron expressions of each target and scenario."""

from __future__ import annotations

import datetime as dt
import logging
import time
from dataclasses import dataclass

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from advisor.cron import cron_trigger
from advisor.errors import AdvisorError
from advisor.service.coordinator import Coordinator
from advisor.service.threads import StoreThreads
from advisor.settings import AdvisorSettings
from advisor.store import ServiceEvent, Store

MISFIRE = 600  # s; a start that is later (the advisor was down, the machine slept) is left out
JITTER = 20  # s; targets of one machine do not all start in the same second

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NextRun:
    """What the schedule will start; `at` in Unix seconds, give or take `JITTER`."""

    target: str
    scenario: str
    at: float
    cron: str


def next_runs(settings: AdvisorSettings, now: dt.datetime, target: str | None = None) -> tuple[NextRun, ...]:
    """The next start of each entry of the schedule, soonest first."""
    found = []
    for entry in settings.targets:
        if target is not None and entry.name != target:
            continue
        for scenario, cron in entry.schedule.entries():
            trigger = cron_trigger(cron, now.tzinfo)
            at = trigger.get_next_fire_time(None, now)
            if at is not None:  # a date that never comes, such as 30 February
                found.append(NextRun(entry.name, scenario, at.timestamp(), cron))
    return tuple(sorted(found, key=lambda item: (item.at, item.target, item.scenario)))


class Scheduler:
    """A duty of the leader."""

    def __init__(
        self, settings: AdvisorSettings, coordinator: Coordinator, store: Store, threads: StoreThreads
    ) -> None:
        self._settings = settings
        self._coordinator = coordinator
        self._store = store
        self._threads = threads
        self._scheduler: AsyncIOScheduler | None = None

    async def start(self) -> None:
        """Begin."""
        defaults = {"coalesce": True, "misfire_grace_time": MISFIRE, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(job_defaults=defaults)
        for target in self._settings.targets:
            for scenario, cron in target.schedule.entries():
                self._scheduler.add_job(
                    self.start_run,
                    cron_trigger(cron, jitter=JITTER),
                    (target.name, scenario),
                    id=f"{target.name} {scenario}",
                )
        self._scheduler.start()

    async def stop(self) -> None:
        """End; runs that were started go on."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    async def start_run(self, target: str, scenario: str) -> None:
        """Start one now; one that may not start is left out, and the diary says why."""
        try:
            run = await self._coordinator.start(target, scenario, details={"trigger": "schedule"})
        except AdvisorError as error:
            _log.warning("scheduled %s run on %s was left out: %s", scenario, target, error.message)
            why = f"the scheduled {scenario} run was left out: {error.message}"
            event = ServiceEvent(time.time(), "skipped", why, target)
            await self._threads(self._store.events.add, event)
        else:
            _log.info("scheduled %s run %s on %s", scenario, run.run_id, target)
