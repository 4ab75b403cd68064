"""One run from its first request to its verdict."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, TypeVar

from advisor.domain import Capacity, Refusal, Run, RunStatus, Slo, StageResult, Verdict, VerdictStatus
from advisor.loadtest.answers.agreement import FINDING as AGREEMENTS
from advisor.loadtest.answers.watch import Watch
from advisor.loadtest.client import Engine
from advisor.loadtest.crew import Crew
from advisor.loadtest.execute import Ended, Execution, WindowSource, execute
from advisor.loadtest.findings.refusals import FINDING as REFUSALS
from advisor.loadtest.findings.refusals import METADATA as REFUSED_WITHIN
from advisor.loadtest.findings.refusals import refusals
from advisor.loadtest.hook import Change, Hook
from advisor.loadtest.plan import CapacityPlan, Caps, Plan, Quick, ScalabilityPlan
from advisor.loadtest.plan.users import FINDING as USERS
from advisor.loadtest.protocol import Setup
from advisor.loadtest.statuses import expected_range, is_refusal
from advisor.loadtest.verdict import judge
from advisor.service import news
from advisor.service.alarm import PrometheusAlarm
from advisor.service.bus import Feed, News
from advisor.service.options import RunOptions, caps_of, guards_of, plan_of
from advisor.service.perreplica import per_replica, replicas_of
from advisor.service.recorder import Recorder
from advisor.settings import TargetSettings
from advisor.store import Store

T = TypeVar("T")
TOO_EARLY = "the run was told to stop before its first request"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the scenario yields; `fit` is the serialised server, `missing` what a verdict must object to."""

    capacity: Capacity | Refusal | None = None
    findings: Mapping[str, object] = field(default_factory=dict)
    fit: bytes | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetupLimits:
    """What bounds the generator."""

    caps: Caps
    timeout: float
    allowed_hosts: tuple[str, ...]
    seed: int


class Tools(Protocol):
    """What a run needs of the layers below; `composition` puts it together."""

    async def prepare(self, target: TargetSettings, setup: SetupLimits) -> Setup:
        """Payloads made and the host checked.

        Raises:
            NotAllowed, ConfigurationError, TargetUnreachable: as their names say.
        """

    async def ready_to_fit(self) -> None:
        """Fits will be quick from now on, and disturb no measurement by compiling."""

    async def preflight(self, setup: Setup) -> None:
        """A few requests of each kind, before any load.

        Raises:
            TargetUnreachable, PayloadRejected: as their names say.
        """

    async def references(self, target: TargetSettings, setup: Setup) -> tuple[Setup, Watch]:
        """Answers without load, where those under load are to be compared with them, and who compares them.

        Raises:
            TargetUnreachable, PayloadRejected, ConfigurationError: as their names say.
        """

    def source(self, target: TargetSettings) -> WindowSource | None:
        """Where the sidecars of the target are read during a run."""

    def hook(self, target: TargetSettings, scenario: str) -> Hook | None:
        """What changes the target, where the scenario needs it.

        Raises:
            ConfigurationError: it needs one, and there is none that could run.
        """

    async def alarm(self, target: TargetSettings) -> PrometheusAlarm | None:
        """The rules of Prometheus that end a run, where there are any.

        Raises:
            ConfigurationError, NotAllowed: a rule is wrong, holds already, or cannot be asked and must be.
        """

    def generator(self) -> Engine | Crew:
        """What sends the load of one run, not started yet."""

    def quick(self, history: Sequence[StageResult], slo: Slo) -> Quick | Refusal:
        """A fit between stages. Blocks."""

    def answer(self, plan: Plan, run: Run, changes: Sequence[Change]) -> Answer:
        """What the stages of a run that ended by its plan say. Blocks."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may begin, with what is worth keeping of its preparation."""

    plan: Plan
    setup: Setup
    details: Mapping[str, object]


class Conduct:
    """`prepare`, then `run`, then `tell_done`."""

    def __init__(
        self,
        store: Store,
        tools: Tools,
        target: TargetSettings,
        options: RunOptions,
        feed: Feed,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._tools = tools
        self._target = target
        self._options = options
        self._feed = feed
        self._clock = clock
        self._prepared: Prepared | None = None
        self._hook: Hook | None = None
        self._alarm: PrometheusAlarm | None = None
        self._watch: Watch | None = None
        self._generator: Engine | Crew | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def prepare(self, run: Run, capacity: float | None, allowed_hosts: tuple[str, ...]) -> Prepared:
        """Plan, payloads and preflight.

        Raises:
            ConfigurationError, NotAllowed, TargetUnreachable, PayloadRejected: before any load.
        """
        caps = caps_of(self._target, run.scenario, self._options)
        plan = plan_of(
            self._target, run.scenario, self._options, slo=run.slo, quick=self._quick, capacity=capacity
        )
        self._hook = self._tools.hook(self._target, run.scenario)
        self._alarm = await self._tools.alarm(self._target)
        limits = SetupLimits(caps, self._target.limits.timeout, allowed_hosts, self._options.seed)
        setup = await self._tools.prepare(self._target, limits)
        await self._tools.preflight(setup)
        setup, self._watch = await self._tools.references(self._target, setup)
        details = {
            "budget": caps.seconds,
            "rate_cap": caps.rate,
            "kinds": [k.name for k in setup.kinds],
            REFUSED_WITHIN: self._refused_within(setup, run.slo),
        }
        self._prepared = Prepared(plan, setup, details)
        return self._prepared

    async def run(self, run: Run, stop: asyncio.Event, stop_reason: Callable[[], str | None]) -> Run:
        """The whole of it; the run comes back as it ended, without its stages."""
        assert self._prepared is not None
        self._loop = asyncio.get_running_loop()
        plan, setup = self._prepared.plan, self._prepared.setup
        self._tell(News.STARTED, news.started(run))
        recorder = Recorder(self._store, run.run_id, self._feed, self._clock)
        try:
            execution = await self._load(plan, setup, recorder, stop)
            changes = [*execution.changes, *await self._restored(execution)]
            await recorder.flush()
        finally:
            recorder.close()
        asked = execution.ended is Ended.ASKED
        unanswered = execution.ended in {Ended.ASKED, Ended.FAILED}
        run = replace(
            run,
            status=execution.status,
            reason=(stop_reason() if asked else None) or execution.reason,
            stages=execution.stages,
        )
        requests = sum(len(stage.log) for stage in execution.stages)
        self._tell(News.FITTING, {"stages": len(execution.stages), "requests": requests})
        answer: Answer | None = Answer()
        if not unanswered and requests:
            answer = await self._answer(plan, run, changes, stop)
        if answer is None:
            run, answer = replace(run, status=RunStatus.ABORTED, reason=stop_reason()), Answer()
        cut_short = run.reason if run.status is not RunStatus.DONE else None
        verdict = await asyncio.to_thread(judge, run.stages, run.slo, answer.capacity, cut_short=cut_short)
        verdict = with_missing(verdict, answer.missing)
        replicas = replicas_of(run.stages)
        run = replace(
            run,
            verdict=verdict,
            capacity=per_replica(answer.capacity, replicas),
            findings={
                **answer.findings,
                **self._of_answers(run),
                **self._of_users(setup),
                **self._of_the_outside(changes),
            },
            metadata={
                **run.metadata,
                "replicas": replicas,
                "kinds": self._kinds(setup),
                **({"epoch": self._generator.epoch} if run.stages and self._generator is not None else {}),
            },
        )
        if answer.fit is not None:
            await asyncio.to_thread(self._store.runs.put_fit, run, answer.fit, now=self._clock())
        self._tell(News.VERDICT, news.verdict(run))
        return run

    async def _answer(
        self, plan: Plan, run: Run, changes: Sequence[Change], stop: asyncio.Event
    ) -> Answer | None:
        """None when the run was told to stop meanwhile."""
        done = await _unless(stop, asyncio.to_thread(self._tools.answer, plan, run, changes))
        return done[0] if done else None

    def tell_done(self, run: Run) -> None:
        """The last news."""
        self._tell(News.DONE, news.done(run))

    async def _load(self, plan: Plan, setup: Setup, recorder: Recorder, stop: asyncio.Event) -> Execution:
        if isinstance(plan, CapacityPlan | ScalabilityPlan) and not await _unless(
            stop, self._tools.ready_to_fit()
        ):
            return Execution((), Ended.ASKED, TOO_EARLY)
        self._generator = engine = self._tools.generator()
        try:
            if await _unless(stop, engine.start(setup)) is None:
                return Execution((), Ended.ASKED, TOO_EARLY)
            return await execute(
                plan,
                engine,
                observers=(recorder,) if self._watch is None else (recorder, self._watch),
                source=self._tools.source(self._target),
                guards=guards_of(self._target),
                alarms=() if self._alarm is None else (self._alarm,),
                hook=self._hook,
                abort=stop,
            )
        finally:
            await engine.close()

    async def _restored(self, execution: Execution) -> Sequence[Change]:
        """The number of replicas that the configuration wants back after the hook has set others."""
        hook, settings = self._hook, self._target.hooks.scale
        restore = settings.restore if settings is not None else None
        if not execution.changes or hook is None or restore is None or execution.changes[-1].replicas is None:
            return ()
        assert self._generator is not None, "a change comes after its start"
        begin = self._clock() - self._generator.epoch
        result = await hook(restore)
        return (Change(hook.what, begin, self._clock() - self._generator.epoch, result, restore),)

    def _of_the_outside(self, changes: Sequence[Change]) -> Mapping[str, object]:
        """How the target was changed, and what the rules of Prometheus could not see."""
        rows = [{**asdict(change), **asdict(change.result)} for change in changes]
        for row in rows:
            del row["result"]
        warning = self._alarm.warning if self._alarm is not None else None
        found = {"changes": rows, "warnings": [warning] if warning else []}
        return {name: value for name, value in found.items() if value}

    def _refused_within(self, setup: Setup, slo: Slo) -> dict[str, float | None]:
        """Seconds that a refusal may take, by the index of each kind that should be refused."""
        tightest = slo.tightest if math.isfinite(slo.tightest) else None
        return {
            str(index): request.within or tightest
            for index, (kind, request) in enumerate(zip(setup.kinds, self._target.requests, strict=False))
            if is_refusal(expected_range(kind.expect))
        }

    def _of_answers(self, run: Run) -> Mapping[str, object]:
        """What became of requests that should be refused, and whether answers stayed right."""
        watch = self._watch
        refused = [
            {**asdict(found), "passed": dict(watch.passed(found.kind)) if watch is not None else {}}
            for found in refusals(run)
            if found.requests
        ]
        agreements = watch.agreements() if watch is not None else ()
        found = {REFUSALS: refused, AGREEMENTS: [agreement.document() for agreement in agreements]}
        return {name: rows for name, rows in found.items() if rows}

    def _of_users(self, setup: Setup) -> Mapping[str, object]:
        """What a locustfile said at its end, and what of it was not used."""
        if setup.locustfile is None or self._generator is None:
            return {}
        said = {"exit_code": self._generator.exit_code, "warnings": list(self._generator.warnings)}
        return {USERS: said}

    def _kinds(self, setup: Setup) -> list[str]:
        """Names of the kinds of requests; a locustfile's users have named theirs meanwhile."""
        return [kind.name for kind in setup.kinds] if self._generator is None else list(self._generator.kinds)

    def _quick(self, history: Sequence[StageResult], slo: Slo) -> Quick | Refusal:
        """Called by the plan, in a thread of its own."""
        found = self._tools.quick(history, slo)
        data = news.estimate(found)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: self._tell(News.ESTIMATE, data))
        return found

    def _tell(self, kind: News, data: news.Data) -> None:
        self._feed.publish(kind, self._clock(), data)


def with_missing(verdict: Verdict, missing: Sequence[str]) -> Verdict:
    """The verdict with the objections of the scenario's own answer."""
    if not missing:
        return verdict
    status = VerdictStatus.INCONCLUSIVE if verdict.status is VerdictStatus.VALID else verdict.status
    return Verdict(status, (*verdict.reasons, *missing))


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> tuple[T] | None:
    """What the work gave; None when `stop` came first. A thread under it goes on, and nobody waits for it."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return (task.result(),) if task.done() else None
    finally:
        stopped.cancel()
        task.cancel()
