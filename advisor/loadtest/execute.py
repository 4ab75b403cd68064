"""Run a plan on a load generator: stage after stage, watched, stopped when it must be, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from advisor.domain import RunStatus, Stage, StageResult, Stop, Window
from advisor.errors import AdvisorError, EngineFailed
from advisor.loadtest.guards import Guards, distress, too_many_errors
from advisor.loadtest.hook import Change, Hook, HookResult
from advisor.loadtest.phases import phases, so_far
from advisor.loadtest.plan.common import Hooked, Plan
from advisor.loadtest.protocol import SecondRecord
from advisor.units import format_seconds

STOP_SECONDS = 2.0  # a generator that was told to stop and has not is ended
SAMPLE_SECONDS = 1.0

WindowSource: TypeAlias = Callable[[], Awaitable[Window | None]]
"""Reads the sidecar: the window since the last call; None at the first call, or when it cannot be read."""
Alarm: TypeAlias = Callable[[], Awaitable[str | None]]
"""Looks at the target from outside, once a second: why the run must end, or None."""


class Generator(Protocol):
    """What executes stages: `client.Engine`, already started."""

    @property
    def epoch(self) -> float:
        """Unix time of the run's second 0."""

    def run_stage(self, stage: Stage) -> AsyncIterator[SecondRecord | StageResult]:
        """Seconds as they come, then the result."""

    async def finish(self) -> None:
        """End the running stage before its time, without a loss."""

    async def abort(self) -> None:
        """Stop the load at once; the running stage still yields its result."""

    async def close(self) -> None:
        """End the generator."""


class Observer:
    """Told what happens, in order. Override what you need; a method that raises ends the run."""

    def on_stage_start(self, stage: Stage) -> None:
        """Before the first request of a stage."""

    def on_second(self, record: SecondRecord) -> None:
        """About once a second of a stage."""

    def on_window(self, window: Window) -> None:
        """About once a second of a stage, where a sidecar is read."""

    def on_change(self, what: str, replicas: int | None) -> None:
        """Before the hook changes the target: what it is, and how many replicas there shall be."""

    def on_stage_end(self, result: StageResult) -> None:
        """After a stage, also one that was cut short."""


class Ended(StrEnum):
    """What ended a run."""

    PLAN = "plan"  # the plan had enough, or its budget ended
    ASKED = "asked"  # a person, or the service on shutdown
    GUARD = "guard"  # a safety rule
    HOOK = "hook"  # the target could not be changed as the plan needs it
    FAILED = "failed"  # the generator


@dataclass(frozen=True, slots=True)
class Execution:
    """All stages that ran, the last one perhaps in part, what ended the run, and what the hook did in it."""

    stages: tuple[StageResult, ...]
    ended: Ended
    reason: str
    error: AdvisorError | None = None
    changes: tuple[Change, ...] = ()

    @property
    def status(self) -> RunStatus:
        """In the words of the store."""
        done = {
            Ended.PLAN: RunStatus.DONE,
            Ended.FAILED: RunStatus.FAILED,
            Ended.HOOK: RunStatus.FAILED,
        }
        return done.get(self.ended, RunStatus.ABORTED)


class _Halt(Exception):  # noqa: N818 - not an error
    def __init__(self, ended: Ended, reason: str) -> None:
        super().__init__(reason)
        self.ended = ended
        self.reason = reason


_News: TypeAlias = SecondRecord | StageResult | Window | Stage | Hooked | Stop


async def execute(
    plan: Plan,
    generator: Generator,
    *,
    observers: Sequence[Observer] = (),
    source: WindowSource | None = None,
    guards: Guards | None = None,
    alarms: Sequence[Alarm] = (),
    hook: Hook | None = None,
    abort: asyncio.Event | None = None,
) -> Execution:
    """Run `plan` to its end. `abort`, once set, stops the load within 2 s; what was measured is kept.

    A plan that changes the target needs the `hook` that does it.
    The caller starts the generator, and closes it afterwards. A generator that fails ends the run with
    `Ended.FAILED` and its error; errors of observers and of the plan are raised after the load has stopped.
    """
    run = _Run(generator, observers, source, guards or Guards(), alarms, hook)
    try:
        return await run.through(plan, abort or asyncio.Event())
    except _Halt as halt:
        await run.cut()
        return run.execution(halt.ended, halt.reason)
    except AdvisorError as error:
        await run.cut()
        return run.execution(Ended.FAILED, error.message, error)
    except BaseException:
        await generator.close()
        raise
    finally:
        await run.end()


class _Run:
    """The state of one execution. Everything that happens comes through one inbox, in order."""

    def __init__(
        self,
        generator: Generator,
        observers: Sequence[Observer],
        source: WindowSource | None,
        guards: Guards,
        alarms: Sequence[Alarm],
        hook: Hook | None,
    ) -> None:
        self.generator = generator
        self.observers = observers
        self.source = source
        self.guards = guards
        self.alarms = alarms
        self.hook = hook
        self.inbox: asyncio.Queue[_News | Exception] = asyncio.Queue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.history: list[StageResult] = []
        self.stage: Stage | None = None  # the one that runs now
        self.pump: asyncio.Task[None] | None = None
        self.sampler: asyncio.Task[None] | None = None
        self.seconds: list[SecondRecord] = []
        self.windows: list[Window] = []
        self.changing: asyncio.Task[None] | None = None  # the change of the target before or in this stage
        self.change_began: float | None = None  # s since the run began, where it came in this stage
        self.changes: list[Change] = []

    async def through(self, plan: Plan, abort: asyncio.Event) -> Execution:
        self._spawn(self._watch(abort))
        self._spawn(self._clock())
        for alarm in self.alarms:
            self._spawn(self._listen(alarm))
        self._spawn(self._decide(plan))
        while True:
            match await self._next():
                case Stop() as stop:
                    return self.execution(Ended.PLAN, stop.reason)
                case Stage() as stage:
                    await self._start(stage)
                case Hooked() as hooked:
                    if hooked.at is not None:
                        await self._start(hooked.stage)
                    self.changing = self._spawn(self._change(hooked))
                case SecondRecord() as record:
                    self._second(record)
                case Window() as window:
                    self._window(window)
                case StageResult() as result:
                    await self._last_window()
                    await self._leave_change()
                    self._finish(result)
                    self._spawn(self._decide(plan))

    def execution(self, ended: Ended, reason: str, error: AdvisorError | None = None) -> Execution:
        """As it stands; a change that failed is what ended a run that came to its end otherwise."""
        problem = self.changes[-1].result.problem if self.changes else None
        if ended is Ended.PLAN and problem is not None:
            ended, reason = Ended.HOOK, problem
        return Execution(tuple(self.history), ended, reason, error, tuple(self.changes))

    async def cut(self) -> None:
        """Stop the load and the change, and keep what the running stage has measured."""
        if self.stage is not None:
            await self._stop_load(self.stage)
        await self._leave_change()

    async def _stop_load(self, stage: Stage) -> None:
        with contextlib.suppress(TimeoutError, AdvisorError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.generator.abort()
                while self.stage is not None and not (self.pump_over and self.inbox.empty()):
                    item = await self.inbox.get()
                    if isinstance(item, StageResult):
                        self._finish(item)
                    elif isinstance(item, SecondRecord):
                        self.seconds.append(item)
        if self.stage is not None:
            await self.generator.close()
            self._finish(so_far(stage, self.seconds))

    async def end(self) -> None:
        """Leave no task behind."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def pump_over(self) -> bool:
        return self.pump is None or self.pump.done()

    # ------------------------------------------------------------------------------- what feeds the inbox

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _watch(self, abort: asyncio.Event) -> None:
        await abort.wait()
        self.inbox.put_nowait(_Halt(Ended.ASKED, "the run was told to stop"))

    async def _clock(self) -> None:
        await asyncio.sleep(self.guards.seconds)
        limit = format_seconds(self.guards.seconds)
        self.inbox.put_nowait(_Halt(Ended.GUARD, f"the run reached its limit of {limit}"))

    async def _decide(self, plan: Plan) -> None:
        try:
            # Fitting takes seconds of CPU: in a thread, so that an abort is heard meanwhile.
            self.inbox.put_nowait(await asyncio.to_thread(plan.next_stage, tuple(self.history)))
        except Exception as error:  # noqa: BLE001 - raised where the inbox is read
            self.inbox.put_nowait(error)

    async def _load(self, stage: Stage) -> None:
        item: SecondRecord | StageResult | None = None
        try:
            async for item in self.generator.run_stage(stage):
                self.inbox.put_nowait(item)
            if not isinstance(item, StageResult):
                raise EngineFailed(f"the load generator gave no result for stage '{stage.name}'")
        except Exception as error:  # noqa: BLE001 - raised where the inbox is read
            self.inbox.put_nowait(error)

    async def _listen(self, alarm: Alarm) -> None:
        try:
            while True:
                await asyncio.sleep(SAMPLE_SECONDS)
                reason = await alarm()
                if reason is not None:
                    raise _Halt(Ended.GUARD, reason)
        except Exception as error:  # noqa: BLE001 - raised where the inbox is read
            self.inbox.put_nowait(error)

    async def _change(self, hooked: Hooked) -> None:
        """Change the target; with a stage in the middle of it, and then end the stage."""
        hook = self.hook
        assert hook is not None, "a plan that changes the target has a hook to do it"
        if hooked.at is not None:
            await asyncio.sleep(hooked.at)
        begin = self.change_began = time.time() - self.generator.epoch
        result = HookResult(problem=f"'{hook.what}' was stopped with the run")
        try:
            for observer in self.observers:
                observer.on_change(hook.what, hooked.replicas)
            result = await hook(hooked.replicas)
        except Exception as error:  # noqa: BLE001 - raised where the inbox is read
            self.inbox.put_nowait(error)
            return
        finally:
            end = time.time() - self.generator.epoch
            self.changes.append(Change(hook.what, begin, end, result, hooked.replicas))
        if hooked.at is None:
            ready = result.problem is None
            self.inbox.put_nowait(hooked.stage if ready else _Halt(Ended.HOOK, str(result.problem)))
            return
        await asyncio.sleep(hooked.after)
        with contextlib.suppress(AdvisorError):  # a generator that died says so itself
            await self.generator.finish()

    async def _sample(self, source: WindowSource) -> None:
        try:
            while True:
                await asyncio.sleep(SAMPLE_SECONDS)
                window = await source()
                if window is not None:
                    self.inbox.put_nowait(window)
        except Exception as error:  # noqa: BLE001 - raised where the inbox is read
            self.inbox.put_nowait(error)

    # ------------------------------------------------------------------------------- what comes out of it

    async def _next(self) -> _News:
        item = await self.inbox.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def _start(self, stage: Stage) -> None:
        self.stage, self.seconds, self.windows, self.change_began = stage, [], [], None
        for observer in self.observers:
            observer.on_stage_start(stage)
        if self.source is not None:
            await self.source()  # the first reading: windows count from here
            self.sampler = self._spawn(self._sample(self.source))
        self.pump = self._spawn(self._load(stage))

    def _second(self, record: SecondRecord) -> None:
        assert self.stage is not None
        self.seconds.append(record)
        for observer in self.observers:
            observer.on_second(record)
        reason = too_many_errors(self.stage, self.seconds, self.guards)
        if reason is not None:
            raise _Halt(Ended.GUARD, reason)

    def _window(self, window: Window) -> None:
        self.windows.append(window)
        for observer in self.observers:
            observer.on_window(window)
        reason = distress(self.windows, self.guards)
        if reason is not None:
            raise _Halt(Ended.GUARD, reason)

    async def _last_window(self) -> None:
        """What is left of the stage since the last reading."""
        if self.sampler is not None and self.source is not None:
            self.sampler.cancel()
            window = await self.source()
            if window is not None:
                self.windows.append(window)

    def _finish(self, result: StageResult) -> None:
        result = dataclasses.replace(result, windows=tuple(self.windows))
        parts = self._parts(result)
        self.history += parts
        self.stage = None
        if self.sampler is not None:
            self.sampler.cancel()
            self.sampler = None
        for number, part in enumerate(parts):
            for observer in self.observers:
                if number:
                    observer.on_stage_start(part.stage)
                observer.on_stage_end(part)

    def _parts(self, result: StageResult) -> tuple[StageResult, ...]:
        """The stage, cut where the target was changed in it."""
        begin = self.change_began
        if begin is None:
            return (result,)
        over = self.changes and self.changes[-1].start == begin
        end = self.changes[-1].end if over else result.end
        return phases(result, self.seconds, begin, end, self.generator.epoch)

    async def _leave_change(self) -> None:
        """Of a change that is still going on when its stage is over, nothing stays behind."""
        if self.changing is not None:
            self.changing.cancel()
            await asyncio.gather(self.changing, return_exceptions=True)
            self.changing = None
