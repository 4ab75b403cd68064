"""Starts runs, one per target across all advisors, stops them, and ends those whose advisor has died."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy.exc import SQLAlchemyError

from advisor.cron import local_time
from advisor.domain import Capacity, Run, RunStatus, VerdictStatus
from advisor.errors import AdvisorError, NotFound, RunOver, TargetBusy
from advisor.service.bus import Feed, RunEvent
from advisor.service.conduct import TOO_EARLY, Conduct, Tools
from advisor.service.demandcurve import curve_of_file, curve_of_production
from advisor.service.keeper import Keeper
from advisor.service.options import RunOptions, check_scenario
from advisor.service.permission import check_permission, next_blackout
from advisor.service.threads import StoreThreads
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import Owner, ServiceEvent, Store

STOP_SECONDS = 10.0  # for all runs to end when the advisor does
DIED = "the advisor died during the run; what it had measured is kept"
SHUT_DOWN = "the advisor was shut down"

_log = logging.getLogger(__name__)


@dataclass
class _Active:
    """A run of this process."""

    run: Run
    feed: Feed
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    stop_reason: str | None = None
    task: asyncio.Task[Run] | None = None

    def ask_to_stop(self, reason: str) -> None:
        self.stop_reason = self.stop_reason or reason
        self.stop.set()


class Coordinator:
    """The only way to load a target."""

    def __init__(
        self,
        settings: AdvisorSettings,
        store: Store,
        threads: StoreThreads,
        owner: Owner,
        tools: Tools,
        *,
        allowed_hosts: tuple[str, ...],
        version: Callable[[TargetSettings], str | None] = lambda target: target.version,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._threads = threads
        self._owner = owner
        self._tools = tools
        self._allowed_hosts = allowed_hosts
        self._version = version
        self._clock = clock
        self._active: dict[str, _Active] = {}
        self._closing = False

    # ------------------------------------------------------------------------------------------- starting

    def target(self, name: str) -> TargetSettings:
        """Its settings.

        Raises:
            NotFound: no such target; the hint lists those there are.
        """
        for target in self._settings.targets:
            if target.name == name:
                return target
        known = ", ".join(target.name for target in self._settings.targets)
        raise NotFound(f"no target '{name}'", hint=f"there are: {known}")

    async def start(
        self,
        target_name: str,
        scenario: str,
        options: RunOptions | None = None,
        *,
        details: Mapping[str, object] | None = None,
    ) -> Run:
        """Check, take the target, see that it answers as expected, and begin; returns with the load.

        Raises:
            NotFound: no such target.
            ConfigurationError: no such scenario, or an option that does not fit.
            NotAllowed: production, a blackout window, or a host that is not allowed.
            TargetBusy: another run holds the target; says which, and since when.
            TargetUnreachable, PayloadRejected: before any load.
        """
        check_scenario(scenario)
        target = self.target(target_name)
        check_permission(target, local_time(self._clock()))
        if self._closing:
            raise TargetBusy(SHUT_DOWN)
        run = Run(
            run_id=uuid.uuid4().hex[:12],
            target=target.name,
            scenario=scenario,
            slo=target.slo.slo(),
            started_at=self._clock(),
            status=RunStatus.RUNNING,
            version=self._version(target),
        )
        active = _Active(run, Feed(run.run_id))
        keeper = self._keeper(active)
        if not await keeper.take():
            raise await self._busy(target.name)
        try:
            await self._interrupt_others(target.name)
            filled = (options or RunOptions()).filled(target.scenarios.get(scenario))  # type: ignore[call-overload]
            if scenario == "replay":
                filled = await self._with_curve(target, filled)
            known = await self._known_capacity(target)
            conduct = Conduct(self._store, self._tools, target, filled, active.feed, self._clock)
            prepared = await conduct.prepare(run, known, self._allowed_hosts)
            run = replace(run, metadata={"options": filled.stated(), **(details or {}), **prepared.details})
            await self._record(run)
        except BaseException:
            await keeper.release()
            raise
        active.run = run
        active.task = asyncio.create_task(self._through(active, keeper, conduct))
        self._active[run.run_id] = active
        self._end_at_blackout(target, active)
        return run

    async def _record(self, run: Run) -> None:
        """Write that it begins. Its thread goes on when a waiter is cancelled: then the run is ended too."""
        writing = asyncio.ensure_future(self._threads(self._store.runs.add, run, self._owner.owner))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            aborted = replace(run, status=RunStatus.ABORTED, ended_at=self._clock(), reason=TOO_EARLY)
            await self._threads(self._store.runs.finish, aborted)
            raise

    async def _with_curve(self, target: TargetSettings, options: RunOptions) -> RunOptions:
        """With the demand that a replay follows, from where the options say.

        Raises:
            ConfigurationError: there is none, or too little of it.
        """
        if options.curve:
            return options
        if options.curve_file is not None:
            return replace(options, curve=await asyncio.to_thread(curve_of_file, options.curve_file))
        if options.last is None:
            return options
        last = options.last
        curve = await self._threads(curve_of_production, self._store, target.name, last, self._clock())
        return replace(options, curve=curve)

    def _end_at_blackout(self, target: TargetSettings, active: _Active) -> None:
        """A run that is still going on when a blackout window begins ends there."""
        now = local_time(self._clock())
        begins = next_blackout(target, now)
        if begins is None:
            return
        reason = f"a blackout window of target '{target.name}' began at {begins:%H:%M}"
        delay = (begins - now).total_seconds()
        timer = asyncio.get_running_loop().call_later(delay, active.ask_to_stop, reason)
        assert active.task is not None
        active.task.add_done_callback(lambda _: timer.cancel())

    async def _through(self, active: _Active, keeper: Keeper, conduct: Conduct) -> Run:
        run = active.run
        try:
            run = await conduct.run(run, active.stop, lambda: active.stop_reason)
        except asyncio.CancelledError:  # told to end at once: a second time, or after it took too long
            run = replace(run, status=RunStatus.INTERRUPTED, reason=active.stop_reason or SHUT_DOWN)
        except AdvisorError as error:
            run = replace(run, status=RunStatus.FAILED, reason=error.message)
        except SQLAlchemyError as error:
            _log.exception("run %s: the store failed", run.run_id)
            run = replace(run, status=RunStatus.FAILED, reason=f"the store failed: {error}".splitlines()[0])
        except Exception as error:  # noqa: BLE001 - a run ends with its reason, whatever it was
            _log.exception("run %s failed", run.run_id)
            run = replace(run, status=RunStatus.FAILED, reason=f"{type(error).__name__}: {error}")
        run = replace(run, ended_at=self._clock())
        try:
            if run.status is RunStatus.INTERRUPTED:  # the seconds of the stage under way become its result
                await self._threads(
                    self._store.runs.interrupt, run.run_id, now=self._clock(), reason=str(run.reason)
                )
            if not await self._threads(self._store.runs.finish, run):
                ended = await self._threads(self._store.runs.head, run.run_id)
                run = ended or run
        except SQLAlchemyError:
            _log.exception("run %s could not be written; it will be marked as interrupted", run.run_id)
        active.run = run
        conduct.tell_done(run)
        await keeper.release()
        self._active.pop(run.run_id, None)
        return run

    # ------------------------------------------------------------------------------------------- stopping

    async def abort(self, run_id: str, reason: str = "someone asked for it") -> None:
        """Stop a run of this or any other advisor of the store, within 2 s; what it measured is kept.

        Raises:
            NotFound: no such run.
            RunOver: it has already ended.
        """
        active = self._active.get(run_id)
        if active is not None:
            active.ask_to_stop(reason)
        elif not await self._threads(self._store.runs.ask_to_stop, run_id, reason):
            run = await self._threads(self._store.runs.head, run_id)
            if run is None:
                raise NotFound(f"run '{run_id}' does not exist")
            raise RunOver(f"run '{run_id}' is over: {run.status.value}")

    async def wait(self, run_id: str) -> Run:
        """The run with its stages, once it is over.

        Raises:
            NotFound: no such run.
        """
        active = self._active.get(run_id)
        if active is not None and active.task is not None:
            await asyncio.shield(active.task)
        run = await self._threads(self._store.runs.get, run_id)
        if run is None:
            raise NotFound(f"run '{run_id}' does not exist")
        return run

    def watch(self, run_id: str, after: int = 0) -> AsyncIterator[RunEvent] | None:
        """The news of a run of this process; None when it is not running here."""
        active = self._active.get(run_id)
        return active.feed.watch(after) if active else None

    def running(self) -> dict[str, Run]:
        """This process's runs by target."""
        return {active.run.target: active.run for active in self._active.values()}

    async def shutdown(self) -> None:
        """Stop all runs of this process and write them down."""
        self._closing = True
        tasks = []
        for active in list(self._active.values()):
            active.ask_to_stop(SHUT_DOWN)
            if active.task is not None:
                tasks.append(active.task)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # ------------------------------------------------------------------------------------------ recovering

    async def recover(self) -> list[str]:
        """End the runs whose advisor holds their target no more; returns their ids."""
        recorded = await self._threads(self._store.runs.owners)
        ended = []
        for run_id, (target, owner) in recorded.items():
            if run_id not in self._active and not await self._held(target, owner):
                ended += await self._interrupt(run_id, target)
        return ended

    async def _held(self, target: str, owner: str | None) -> bool:
        lease = await self._threads(self._store.leases.holder, _lease_name(target))
        if lease is None or lease.owner.owner != owner:
            return False
        if lease.owner.is_dead():
            return False
        return lease.expires_at > await self._threads(self._store.now)

    async def _interrupt_others(self, target: str) -> None:
        """This process holds the target now, so every run recorded as running on it is not."""
        for run_id, (name, _) in (await self._threads(self._store.runs.owners)).items():
            if name == target:
                await self._interrupt(run_id, target)

    async def _interrupt(self, run_id: str, target: str) -> list[str]:
        now = self._clock()
        if not await self._threads(self._store.runs.interrupt, run_id, now=now, reason=DIED):
            return []
        _log.warning("run %s on %s was interrupted: %s", run_id, target, DIED)
        event = ServiceEvent(now, "interrupted", DIED, target, run_id)
        await self._threads(self._store.events.add, event)
        return [run_id]

    # --------------------------------------------------------------------------------------------- details

    def _keeper(self, active: _Active) -> Keeper:
        async def hear() -> None:
            if not active.stop.is_set() and active.task is not None:
                reason = await self._threads(self._store.runs.stop_asked, active.run.run_id)
                if reason is not None:
                    active.ask_to_stop(reason)

        return Keeper(
            self._store,
            self._threads,
            self._owner,
            _lease_name(active.run.target),
            lost=lambda why: active.ask_to_stop(f"this advisor lost the target: {why}"),
            each=hear,
        )

    async def _busy(self, target: str) -> TargetBusy:
        recorded = await self._threads(self._store.runs.owners)
        run_id = next((run_id for run_id, (name, _) in recorded.items() if name == target), None)
        run = await self._threads(self._store.runs.head, run_id) if run_id else None
        if run is None:
            return TargetBusy(f"target '{target}' is busy: another run is about to start on it")
        since = local_time(run.started_at)
        return TargetBusy(
            f"target '{target}' is busy: the {run.scenario} run {run.run_id} has held it since "
            f"{since:%H:%M:%S}",
            hint="wait until it is over, or abort it",
        )

    async def _known_capacity(self, target: TargetSettings) -> float | None:
        verdicts = (VerdictStatus.VALID, VerdictStatus.INCONCLUSIVE)
        run = await self._threads(
            self._store.runs.newest, target.name, verdicts=verdicts, version=self._version(target)
        )
        if run is None or not isinstance(run.capacity, Capacity):
            return None
        replicas = run.metadata.get("replicas")  # one address, as many behind it as then
        return run.capacity.rps * (replicas if isinstance(replicas, int) else 1)


def _lease_name(target: str) -> str:
    return f"run:{target}"
