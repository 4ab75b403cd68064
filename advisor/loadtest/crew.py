"""Several load generators as one: each sends its share of every stage, and what they tell becomes one record.

All of them draw the same arrivals and the same requests from a stage's seed, and each sends those that fall
to it (`engine.arrivals.share_of`): together they send what one alone would have sent. Their times are shifted
by what their clocks are apart, which is measured before each stage.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from advisor.domain import Arrivals, RequestLog, Share, Stage, StageResult, StreamLog
from advisor.errors import AdvisorError, EngineFailed
from advisor.loadtest.client import Engine
from advisor.loadtest.protocol import SecondRecord, Setup

_PATIENCE = 1.5  # s that a second waits for the generators that have not told theirs
_LAG = 2.0  # s; a generator whose measurements come later than that is too busy to be believed
_EARLY = 0.97  # of its seconds: a stage that ended before ended by its own rule
_ENDS_BY_ITSELF = frozenset(
    {Arrivals.RAMP, Arrivals.USERS}
)  # and then for all: of a volley each has its share

T = TypeVar("T")
Gather: TypeAlias = Callable[[], Awaitable[Sequence["Member"]]]
"""The generators of a run, once all that are expected are there. Raises EngineFailed where they are not."""
_News: TypeAlias = "SecondRecord | StageResult | AdvisorError"


class Member(Protocol):
    """One of the generators: `name` is for people."""

    @property
    def name(self) -> str:
        """The same as long as it lives."""

    @property
    def engine(self) -> Engine:
        """A generator, not started yet."""

    @property
    def offset(self) -> float:
        """Seconds that its machine's monotonic clock is ahead of ours."""


@dataclasses.dataclass(frozen=True, slots=True)
class Local:
    """A process of this machine."""

    name: str
    engine: Engine
    offset: float = 0.0


def local_crew(count: int) -> Crew:
    """`count` processes of this machine."""

    async def gather() -> Sequence[Member]:
        return [Local(f"generator {number}", Engine()) for number in range(1, count + 1)]

    return Crew(gather)


class Crew:
    """An `execute.Generator` of several. `newcomers`: those that came since it was last called."""

    def __init__(self, gather: Gather, newcomers: Callable[[], Sequence[Member]] = tuple) -> None:
        self._gather = gather
        self._newcomers = newcomers
        self._setup: Setup | None = None
        self._members: list[Member] = []
        self._late: set[str] = set()
        self._lost: dict[str, str] = {}  # why, by name
        self._epochs = (0.0, 0.0)  # Unix and monotonic time of second 0
        self._kinds: dict[str, int] = {}
        self._running: list[Member] = []

    @property
    def epoch(self) -> float:
        """Unix time of the run's second 0."""
        return self._epochs[0]

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds of requests, in the order of their index in the logs."""
        return list(self._kinds)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of a locustfile is not used."""
        return tuple(dict.fromkeys(warning for m in self._members for warning in m.engine.warnings))

    @property
    def exit_code(self) -> int | None:
        """The worst that a locustfile's listener asked for, once closed."""
        codes = [m.engine.exit_code for m in self._members if m.engine.exit_code is not None]
        return max(codes, key=abs, default=None)

    async def start(self, setup: Setup) -> None:
        """Gather the generators and set them up.

        Raises:
            EngineFailed: not all came.
            NotAllowed, ConfigurationError, TargetUnreachable: one of them refuses; names it.
        """
        self._setup = setup
        self._members = list(await self._gather())
        try:
            await asyncio.gather(*(_start(member, setup) for member in self._members))
        except BaseException:
            await self.close()
            raise
        self._epochs = time.time(), time.monotonic()
        self._kinds = {kind.name: index for index, kind in enumerate(setup.kinds)}

    async def run_stage(self, stage: Stage) -> AsyncIterator[SecondRecord | StageResult]:
        """As `Engine.run_stage`. A generator that is lost takes its share of the stage with it; those that
        are left, and those that have come, share the next one.

        Raises:
            EngineFailed: the last one is lost.
        """
        await self._welcome()
        staging = _Staging(self, stage, [m for m in self._members if m.name not in self._lost])
        self._running = staging.members
        try:
            async for item in staging.run():
                yield item
        finally:
            self._running = []

    async def finish(self) -> None:
        """End the running stage before its time."""
        await _all(m.engine.finish() for m in self._running)

    async def abort(self) -> None:
        """Stop the load at once."""
        await _all(m.engine.abort() for m in self._members)

    async def close(self) -> None:
        """End all of them."""
        await _all(m.engine.close() for m in self._members)

    async def _welcome(self) -> None:
        assert self._setup is not None
        for member in self._newcomers():
            try:
                await _start(member, self._setup)
            except AdvisorError as error:
                self._lost[member.name] = error.message
            else:
                self._lost.pop(member.name, None)
                self._late.add(member.name)
            self._members = [m for m in self._members if m.name != member.name] + [member]

    # ------------------------------------------------------------------------------ what a stage needs of it

    def lose(self, member: Member, why: str) -> None:
        """It takes no part any more."""
        self._lost[member.name] = why

    def is_late(self, member: Member) -> bool:
        """It came after the run had begun."""
        return member.name in self._late

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._epochs[1]

    def shift(self, member: Member) -> float:
        """What makes a generator's time one of the run (s)."""
        ready = member.engine.ready
        assert ready is not None
        return ready.monotonic - member.offset - self._epochs[1]

    def kinds_of(self, member: Member) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        """The run's index of each kind of a generator: users name theirs as they come up."""
        places = [self._kinds.setdefault(name, len(self._kinds)) for name in member.engine.kinds]
        return np.array(places, np.int16)


class _Staging:
    """One stage on several generators."""

    def __init__(self, crew: Crew, stage: Stage, able: Sequence[Member]) -> None:
        self._crew = crew
        self._stage = stage
        self._tasks = tasks_of(stage, able)
        self.members = [member for member, *_ in self._tasks]
        self._shifts = {member.name: crew.shift(member) for member in self.members}
        self._inbox: asyncio.Queue[tuple[Member, _News]] = asyncio.Queue()
        self._pending: dict[str, list[SecondRecord]] = {}
        self._told: dict[str, list[SecondRecord]] = {member.name: [] for member in self.members}
        self._results: dict[str, StageResult] = {}
        self._lost: dict[str, str] = {}
        self._lag: dict[str, float] = {}

    async def run(self) -> AsyncIterator[SecondRecord | StageResult]:
        pumps = [asyncio.create_task(self._pump(*task)) for task in self._tasks]
        try:
            while len(self._results) + len(self._lost) < len(self.members):
                record = await self._next()
                if record is not None:
                    yield record
            if self._pending:
                yield self._flush()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        if not self._results:
            raise EngineFailed("all load generators are lost: " + "; ".join(self._lost.values()))
        yield self._merged()

    async def _pump(self, member: Member, stage: Stage, part: tuple[int, int]) -> None:
        try:
            async for item in member.engine.run_stage(stage, part):
                self._inbox.put_nowait((member, item))
        except AdvisorError as error:
            self._inbox.put_nowait((member, error))

    async def _next(self) -> SecondRecord | None:
        """Take one piece of news in; a second, once all have told theirs or it is overdue."""
        try:
            async with asyncio.timeout(_PATIENCE if self._pending else None):
                member, item = await self._inbox.get()
        except TimeoutError:
            return self._flush()
        if isinstance(item, SecondRecord):
            record = self._in_our_terms(member, item)
            self._note_lag(member, record)
            self._pending.setdefault(member.name, []).append(record)
            self._told[member.name].append(record)
        elif isinstance(item, StageResult):
            self._results[member.name] = item
            early = item.end - item.start < _EARLY * self._stage.seconds
            if early and self._stage.arrivals in _ENDS_BY_ITSELF:
                await _all(m.engine.finish() for m in self.members if m.name not in self._results)
        else:
            self._lose(member, item)
        heard = {*self._pending, *self._results, *self._lost}
        waiting = [member for member in self.members if member.name not in heard]
        return self._flush() if self._pending and not waiting else None

    def _in_our_terms(self, member: Member, record: SecondRecord) -> SecondRecord:
        by, log, streams = self._shifts[member.name], record.log, record.streams
        places = self._crew.kinds_of(member)
        log = RequestLog(
            log.intended + by,
            log.sent + by,
            log.end + by,
            log.outcome,
            places[log.kind] if len(log) else log.kind,
        )
        if streams is not None:
            moved = (streams.intended + by, streams.sent + by, streams.first + by, streams.last + by)
            streams = StreamLog(*moved, streams.tokens, streams.gaps)
        return dataclasses.replace(
            record, start=record.start + by, end=record.end + by, log=log, streams=streams
        )

    def _note_lag(self, member: Member, record: SecondRecord) -> None:
        late = self._crew.now() - record.start - 1.0  # one that stood still tells a long second
        if late > _LAG:
            self._lag[member.name] = max(late, self._lag.get(member.name, 0.0))

    def _lose(self, member: Member, error: AdvisorError) -> None:
        told = self._told[member.name]
        begin = min((r[0].start for r in self._told.values() if r), default=0.0)
        after = f"{told[-1].end - begin:.0f} s into the stage" if told else "before its first second"
        self._lost[member.name] = f"{after}: {error.message}"
        self._crew.lose(member, error.message)

    def _flush(self) -> SecondRecord:
        records = [record for told in self._pending.values() for record in told]
        self._pending = {}
        in_flight = sum(told[-1].in_flight for told in self._told.values() if told)
        return _one_second(records, in_flight)

    def _merged(self) -> StageResult:
        results = [(self._shifts[name], result) for name, result in self._results.items()]
        records = [record for told in self._told.values() for record in told]
        delays = [r.dispatch_delay_p99 for _, r in results if r.dispatch_delay_p99 is not None]
        return StageResult(
            stage=self._stage,
            start=min(by + result.start for by, result in results),
            end=max(by + result.end for by, result in results),
            log=RequestLog.concat(record.log for record in records),
            dropped=sum(record.dropped for record in records),
            drained=not self._lost and all(result.drained for _, result in results),
            dispatch_delay_p99=max(delays, default=None),
            generator_cpu=max(
                (r.generator_cpu for _, r in results if r.generator_cpu is not None), default=None
            ),
            streams=StreamLog.concat(record.streams for record in records if record.streams is not None),
            shares=tuple(
                Share(
                    name,
                    sum(len(record.log) for record in told),
                    self._lost.get(name),
                    self._lag.get(name, 0.0),
                    late=self._crew.is_late(member),
                )
                for member, (name, told) in zip(self.members, self._told.items(), strict=True)
            ),
        )


def tasks_of(stage: Stage, able: Sequence[T]) -> list[tuple[T, Stage, tuple[int, int]]]:
    """What each is to do: all of one stream, some of the users, or a share of the arrivals."""
    count = len(able)
    if stage.arrivals is Arrivals.SINGLE:
        return [(able[0], stage, (0, 1))]
    if stage.arrivals is not Arrivals.USERS:
        return [(member, stage, (index, count)) for index, member in enumerate(able)]
    users = int(stage.count or 1)
    shares = [users // count + (index < users % count) for index in range(count)]
    return [
        (member, dataclasses.replace(stage, count=share, rate=stage.rate * share / users), (index, count))
        for index, (member, share) in enumerate(zip(able, shares, strict=True))
        if share
    ]


def _one_second(records: Sequence[SecondRecord], in_flight: int) -> SecondRecord:
    counts: dict[str, int] = {}
    histogram: dict[int, int] = {}
    for record in records:
        for name, number in record.counts.items():
            counts[name] = counts.get(name, 0) + number
        for bucket, number in record.histogram.items():
            histogram[bucket] = histogram.get(bucket, 0) + number
    p50 = [r.dispatch_delay_p50 for r in records if r.dispatch_delay_p50 is not None]
    p99 = [r.dispatch_delay_p99 for r in records if r.dispatch_delay_p99 is not None]
    return SecondRecord(
        stage=records[0].stage,
        start=min(record.start for record in records),
        end=max(record.end for record in records),
        counts=counts,
        histogram=histogram,
        log=RequestLog.concat(record.log for record in records),
        in_flight=in_flight,
        dropped=sum(record.dropped for record in records),
        cpu=max(record.cpu for record in records),
        dispatch_delay_p50=max(p50, default=None),
        dispatch_delay_p99=max(p99, default=None),
        streams=StreamLog.concat(r.streams for r in records if r.streams is not None),
        told=tuple(told for record in records for told in record.told),
    )


async def _start(member: Member, setup: Setup) -> None:
    try:
        await member.engine.start(setup)
    except AdvisorError as error:
        raise type(error)(f"{member.name}: {error.message}", hint=error.hint) from None


async def _all(actions: Iterable[Awaitable[None]]) -> None:
    """Each of them, whatever becomes of the others: a generator that is gone needs to be told nothing."""
    for result in await asyncio.gather(*actions, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, AdvisorError):
            raise result
