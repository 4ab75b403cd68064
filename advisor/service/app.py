"""The advisor as one object: what the API and the command line call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from advisor.cron import local_time
from advisor.domain import Recommendation, Run, RunStatus, StageSummary, Window
from advisor.errors import NotFound
from advisor.service.advice import RENEW, Advice
from advisor.service.annotator import Annotator
from advisor.service.bus import RunEvent
from advisor.service.composition import RunTools
from advisor.service.coordinator import Coordinator
from advisor.service.generators import Generators
from advisor.service.history import History
from advisor.service.leadership import Leadership
from advisor.service.observer import Observer
from advisor.service.options import RunOptions
from advisor.service.outlook import LookAhead
from advisor.service.permission import allowed_hosts as configured_hosts
from advisor.service.production import ProductionFits
from advisor.service.schedule import NextRun, Scheduler, next_runs
from advisor.service.tail import tail
from advisor.service.threads import StoreThreads
from advisor.service.whatif import AS_CONFIGURED, Question
from advisor.service.workers import Workers
from advisor.service.workloads import Workloads
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import Owner, ServiceEvent, Store

PREPARATION = 15.0  # s that a start may take to compute the first answers

_log = logging.getLogger(__name__)


class Advisor:
    """`async with Advisor(settings) as advisor:`, or start() and stop().

    `background`: run the schedule and observe production, when this process leads. `allowed_hosts`: what
    may be loaded beside the configured targets (`host` or `host:port`); None allows all configured ones,
    a sequence (also an empty one) only loopback and what it names.
    """

    def __init__(
        self,
        settings: AdvisorSettings,
        *,
        background: bool = False,
        allowed_hosts: Sequence[str] | None = None,
    ) -> None:
        """Open the store.

        Raises:
            ConfigurationError: the store cannot be opened.
        """
        self.settings = settings
        self.store = Store(settings.store)
        self._history = History(self.store, settings)
        self.store.windows = self._history
        self.owner = Owner.this_process()
        self._threads = StoreThreads()
        self._workers = Workers()
        self._workloads = Workloads(settings)
        hosts = configured_hosts(settings) if allowed_hosts is None else tuple(allowed_hosts)
        self._generators = Generators(settings.loadgen)
        self._tools = RunTools(
            self._workers, self._generators, settings.prometheus, kubernetes=settings.kubernetes
        )
        self.coordinator = Coordinator(
            settings,
            self.store,
            self._threads,
            self.owner,
            self._tools,
            allowed_hosts=hosts,
            version=self._workloads.version,
        )
        self._advice = Advice(settings, self.store, self._workers, self._workloads.get)
        self._renewing: asyncio.Task[None] | None = None
        self._leadership = (
            Leadership(
                self.store,
                self._threads,
                self.owner,
                (
                    Scheduler(settings, self.coordinator, self.store, self._threads),
                    Observer(settings, self.store, self._threads, self._workloads.version),
                    LookAhead(
                        settings,
                        self._advice,
                        self._threads,
                        under_load=lambda: bool(self.coordinator.running()),
                    ),
                    ProductionFits(
                        settings,
                        self.store,
                        self._advice,
                        self._workers,
                        self._threads,
                        under_load=lambda: bool(self.coordinator.running()),
                    ),
                    *self._annotator(),
                ),
                recover=self.coordinator.recover,
            )
            if background
            else None
        )

    def _annotator(self) -> tuple[Annotator, ...]:
        grafana = self.settings.grafana
        if grafana is None:
            return ()
        return (Annotator(grafana, os.environ.get(grafana.token_env), self.store, self._threads),)

    async def start(self) -> None:
        """End what dead advisors left, listen for workers, and begin the background work.

        Raises:
            ConfigurationError: the workers' address cannot be listened at.
        """
        await self._generators.start()
        await self.coordinator.recover()
        await self._workloads.start()
        if self._leadership is not None:
            await self._prepare()
            await self._leadership.start()
            self._renewing = asyncio.create_task(self._renew())

    async def stop(self) -> None:
        """Stop runs (they are kept as aborted), background work, workers; close the store."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if self._leadership is not None:
            await self._leadership.stop()
        await self.coordinator.shutdown()
        await self._generators.close()
        await asyncio.to_thread(self._workers.close)
        await asyncio.to_thread(self._threads.close)
        await self._tools.close()
        await self._workloads.stop()
        self._history.close()
        self.store.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def leads(self) -> bool:
        """This process runs the schedule and observes production."""
        return self._leadership is not None and self._leadership.leads

    async def ready(self) -> bool:
        """The store answers."""
        await self._threads(self.store.now)
        return True

    # --------------------------------------------------------------------------------------------- targets

    def target(self, name: str) -> TargetSettings:
        """Its settings.

        Raises:
            NotFound: no such target; the hint lists those there are.
        """
        return self.coordinator.target(name)

    def next_runs(self, target: str | None = None) -> tuple[NextRun, ...]:
        """What the schedule will start, soonest first; also where another process leads."""
        return next_runs(self.settings, local_time(time.time()), target)

    async def windows(self, target: str, start: float, end: float) -> tuple[Window, ...]:
        """Production windows that overlap [start, end) (Unix seconds)."""
        return await self._threads(self.store.windows.between, self.target(target).name, start, end)

    async def demand(self, target: str, start: float, end: float) -> tuple[tuple[float, float], ...]:
        """(Unix s, mean req/s) of each observed minute of production that begins in [start, end)."""
        name = self.target(target).name
        times, rates = await self._threads(self.store.windows.demand, name, start, end)
        return tuple(zip(times.tolist(), rates.tolist(), strict=True))

    async def events(self, target: str | None = None, limit: int = 100) -> tuple[ServiceEvent, ...]:
        """The diary, newest first."""
        return await self._threads(self.store.events.list, target=target, limit=limit)

    # ------------------------------------------------------------------------------------------------ runs

    async def start_run(
        self,
        target: str,
        scenario: str = "capacity",
        options: RunOptions | None = None,
        *,
        details: Mapping[str, object] | None = None,
    ) -> Run:
        """As `Coordinator.start`: returns once the run is under way, or raises before any load."""
        return await self.coordinator.start(target, scenario, options, details=details)

    async def abort_run(self, run_id: str, reason: str = "someone asked for it") -> None:
        """As `Coordinator.abort`."""
        await self.coordinator.abort(run_id, reason)

    async def wait(self, run_id: str) -> Run:
        """The run with its stages, once it is over, wherever it runs."""
        async for _ in self.watch(run_id):
            pass
        return await self.coordinator.wait(run_id)

    async def run(self, run_id: str) -> Run:
        """The run without its stages.

        Raises:
            NotFound: no such run.
        """
        run = await self._threads(self.store.runs.head, run_id)
        if run is None:
            raise NotFound(f"run '{run_id}' does not exist")
        return run

    async def full_run(self, run_id: str) -> Run:
        """The run with every request of every stage; a report needs it.

        Raises:
            NotFound: no such run.
        """
        run = await self._threads(self.store.runs.get, run_id)
        if run is None:
            raise NotFound(f"run '{run_id}' does not exist")
        return run

    async def stages(self, run_id: str) -> tuple[StageSummary, ...]:
        """Figures of its stages, without requests."""
        return await self._threads(self.store.runs.stages, run_id)

    async def runs(
        self,
        *,
        target: str | None = None,
        scenario: str | None = None,
        status: RunStatus | None = None,
        before: float | None = None,
        limit: int = 50,
    ) -> tuple[Run, ...]:
        """Newest first, without stages."""
        return await self._threads(
            self.store.runs.list, target=target, scenario=scenario, status=status, before=before, limit=limit
        )

    async def latest_runs(self) -> Mapping[str, tuple[Run, ...]]:
        """The two newest of every target, without stages; none of one that never had a run."""
        return await self._threads(self.store.runs.latest, [target.name for target in self.settings.targets])

    async def known_runs(self, run_ids: Iterable[str]) -> Mapping[str, Run]:
        """Those that there are, by their id, without stages."""
        return await self._threads(self.store.runs.heads, list(run_ids))

    async def watch(self, run_id: str, after: int = 0) -> AsyncIterator[RunEvent]:
        """The news of a run with numbers above `after`, as they come; ends when the run does.

        Of a run that is over, or that another process runs, as the store tells them.

        Raises:
            NotFound: no such run.
        """
        events = self.coordinator.watch(run_id, after) or tail(self.store, self._threads, run_id, after)
        async for event in events:
            yield event

    # ---------------------------------------------------------------------------------------------- advice

    async def recommendation(self, target: str, question: Question = AS_CONFIGURED) -> Recommendation:
        """How many replicas and which autoscaling target; as configured but for what is asked.

        Raises:
            NotFound: no such target.
        """
        settings = self.target(target)
        return await self._threads(self._advice.recommendation, settings, question, now=time.time())

    async def recommendations(self) -> tuple[Recommendation, ...]:
        """Of all targets, in the configuration's order."""
        return await self._threads(self._advice.all, now=time.time())

    async def _prepare(self) -> None:
        """Answers for all targets before the first question; what takes too long is left to `_renew`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARATION):
                for target in self.settings.targets:
                    await self._renew_one(target)

    async def _renew(self) -> None:
        """Keep the answers of all targets young, one target after another."""
        if self._advice.rests_on_a_server:
            await self._tools.ready_to_fit()  # the first question beyond a curve should not wait for it
        pause = RENEW / (2 * len(self.settings.targets))
        while True:
            for target in self.settings.targets:
                await self._renew_one(target)
                await asyncio.sleep(pause)

    async def _renew_one(self, target: TargetSettings) -> None:
        try:
            await self._threads(self._advice.renew, target, now=time.time())
        except SQLAlchemyError as error:
            _log.warning("advice for %s could not be renewed: %s", target.name, error)
        except Exception:  # noqa: BLE001 - one target's odd history must not end the others' answers
            _log.exception("advice for %s could not be renewed", target.name)
