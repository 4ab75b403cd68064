"""A load generator and its target in virtual time: stages in, results out, thousands of times as fast."""

from __future__ import annotations

import dataclasses
import heapq
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from advisor.domain import Arrivals, Floats, Outcome, RequestLog, Stage, StageResult, Stop
from advisor.loadtest.histogram import latency_buckets
from advisor.loadtest.phases import phases
from advisor.loadtest.plan.common import Hooked, Plan, elapsed
from advisor.loadtest.plan.probe import first_backlog
from advisor.loadtest.protocol import SecondRecord

DROPPED = -1


@dataclass(frozen=True, slots=True)
class Server:
    """`workers` behind one queue of at most `queue` requests; work lognormal with mean `work` s, spread
    `cv`.

    `sharing`: all requests share the workers' speed instead of waiting. `contention`: κ of the USL,
    throughput falls with the number running. `failing`: share of requests answered 500. `cold`: the first
    requests take longer.
    """

    work: float = 0.02
    cv: float = 0.5
    workers: int = 1
    queue: int | None = None
    sharing: bool = False
    contention: float = 0.0
    failing: float = 0.0
    cold: int = 0

    def serve(self, arrivals: Floats, cap: int, rng: np.random.Generator) -> tuple[Floats, np.ndarray]:
        """(end, outcome) of each arrival; at most `cap` in flight, arrivals beyond are DROPPED."""
        n = arrivals.size
        sigma = math.sqrt(math.log(1 + self.cv**2))
        work = (
            rng.lognormal(math.log(self.work) - sigma**2 / 2, sigma, n) if self.cv else np.full(n, self.work)
        )
        outcome = np.where(rng.random(n) < self.failing, Outcome.SERVER_ERROR, Outcome.OK).astype(int)
        if self.sharing or self.contention:
            return self._shared(arrivals, work, outcome, cap)
        return self._fifo(arrivals, work, outcome, cap)

    def _fifo(self, arrivals, work, outcome, cap):
        end = np.empty(arrivals.size)
        free = [0.0] * self.workers
        running: list[float] = []
        for i, now in enumerate(arrivals):
            while running and running[0] <= now:
                heapq.heappop(running)
            if self._turned_away(len(running), cap, i, now, end, outcome):
                continue
            begin = max(heapq.heappop(free), now)
            end[i] = begin + work[i]
            heapq.heappush(free, end[i])
            heapq.heappush(running, end[i])
        return end, outcome

    def _shared(self, arrivals, work, outcome, cap):
        """Processor sharing by virtual time: each running request progresses at the same speed."""
        end = np.empty(arrivals.size)
        running: list[tuple[float, int]] = []
        now, progress, i = 0.0, 0.0, 0
        while i < arrivals.size or running:
            m = len(running)
            speed = min(1.0, self.workers / m) / (1 + self.contention * m * (m - 1)) if m else 0.0
            done = now + (running[0][0] - progress) / speed if m else math.inf
            if i < arrivals.size and arrivals[i] <= done:
                progress += speed * (arrivals[i] - now)
                now = arrivals[i]
                if not self._turned_away(m, cap, i, now, end, outcome):
                    heapq.heappush(running, (progress + work[i], i))
                i += 1
            else:
                progress, now = running[0][0], done
                end[heapq.heappop(running)[1]] = now
        return end, outcome

    def _turned_away(self, running, cap, i, now, end, outcome) -> bool:
        if running >= cap:
            end[i], outcome[i] = now, DROPPED
            return True
        if self.queue is not None and running >= self.workers + self.queue:
            end[i], outcome[i] = now + 0.001, Outcome.REJECTED
            return True
        return False


@dataclass(slots=True)
class Bench:
    """Runs stages one after the other in virtual time; `think` seconds pass between them."""

    server: Server
    cap: int = 400
    seed: int = 0
    think: float = 0.5
    generator_cpu: float = 0.2
    now: float = 0.0
    asked: list[Stage] = field(default_factory=list)

    def run(self, stage: Stage) -> StageResult:
        """The stage as the real generator would report it."""
        self.asked.append(stage)
        rng = np.random.default_rng([self.seed, len(self.asked)])
        single = stage.arrivals is Arrivals.SINGLE
        arrivals, end, outcome = self._single(stage, rng) if single else self._open(stage, rng)
        sent = outcome != DROPPED
        lost = arrivals[~sent]
        arrivals, end, outcome = arrivals[sent], end[sent], outcome[sent]
        seconds = self._asking(stage, arrivals, end, outcome)
        kept = arrivals <= seconds
        dropped = int((lost <= seconds).sum())
        arrivals, end, outcome = arrivals[kept], end[kept], outcome[kept]
        limit = seconds + stage.drain
        drained = not (end > limit).any()
        outcome = np.where(end > limit, Outcome.CANCELLED, outcome)
        end = np.minimum(end, limit)
        start = self.now
        log = RequestLog(
            start + arrivals,
            start + arrivals + 1e-4,
            start + np.maximum(end, arrivals + 1e-4),
            outcome.astype(np.int8),
            np.zeros(arrivals.size, np.int16),
        )
        last = max(seconds, float(end.max()) if end.size else 0.0)
        self.now = start + last + self.think
        return StageResult(stage, start, start + seconds, log, dropped, drained, 0.001, self.generator_cpu)

    def _single(self, stage: Stage, rng) -> tuple[Floats, Floats, np.ndarray]:
        limit = min(stage.count or 20_000, max(int(3 * stage.seconds / self.server.work) + 10, 10))
        spaced = np.arange(limit) * 1e4 * self.server.work
        end, outcome = self.server.serve(spaced, self.cap, rng)
        took = end - spaced
        if len(self.asked) == 1:
            took[: self.server.cold] *= np.linspace(20, 2, self.server.cold)[: took.size]
        begin = np.concatenate([[0.0], np.cumsum(took + 1e-4)[:-1]])
        keep = begin < stage.seconds
        return begin[keep], (begin + took)[keep], outcome[keep]

    def _open(self, stage: Stage, rng) -> tuple[Floats, Floats, np.ndarray]:
        arrivals = arrival_times(stage, rng)
        seed = int(rng.integers(1 << 31))
        end, outcome = self.server.serve(arrivals, self.cap, np.random.default_rng(seed))
        return arrivals, end, outcome

    def _asking(self, stage: Stage, arrivals: Floats, end: Floats, outcome: np.ndarray) -> float:
        """When the asking ended: its seconds, or the ramp's stop rule as the generator applies it."""
        if stage.arrivals is Arrivals.VOLLEY:
            return 1e-3
        if stage.count is not None and arrivals.size >= stage.count:
            return float(end[-1])
        stop = stage.stop
        if stop is None or arrivals.size < 1:
            return stage.seconds
        moments = [stage.seconds]
        order = np.argsort(end)
        slow = ((end - arrivals) > stop.latency)[order].astype(float)
        if slow.size >= stop.window:
            counts = np.convolve(slow, np.ones(stop.window), "valid")
            hit = np.flatnonzero(counts >= stop.slow_of)
            if hit.size:
                moments.append(float(end[order][hit[0] + stop.window - 1]))
        failed = np.sort(end[outcome != Outcome.OK])
        if failed.size >= stop.failures:
            moments.append(float(failed[stop.failures - 1]))
        depth = np.arange(1, arrivals.size + 1) - np.searchsorted(np.sort(end), arrivals)
        backlog = first_backlog(arrivals, end, stop)
        if backlog is not None:
            moments.append(backlog)
        deep = np.flatnonzero(depth >= stop.in_flight)
        if deep.size:
            moments.append(float(arrivals[deep[0]]))
        return min(moments)


def arrival_times(stage: Stage, rng: np.random.Generator) -> Floats:
    """Intended times of an open stage (s since it began)."""
    match stage.arrivals:
        case Arrivals.VOLLEY:
            return np.arange(stage.count or 0) * 1e-6
        case Arrivals.CONSTANT:
            return np.arange(0, stage.seconds, 1 / stage.rate)
        case Arrivals.RAMP:
            assert stage.doubling
            k = math.log(2) / stage.doubling
            total = stage.rate * (math.exp(k * stage.seconds) - 1) / k
            places = np.sort(rng.random(rng.poisson(total))) * total
            return np.log1p(places * k / stage.rate) / k
        case Arrivals.REPLAY:
            times, rates = np.array(stage.curve).T
            grid = np.linspace(0, stage.seconds, 2001)
            value = np.interp(grid, times, rates)
            whole = np.concatenate([[0], np.cumsum((value[1:] + value[:-1]) / 2 * np.diff(grid))])
            return np.interp(np.sort(rng.random(rng.poisson(whole[-1]))) * whole[-1], whole, grid)
    return np.sort(rng.random(rng.poisson(stage.rate * stage.seconds))) * stage.seconds


def play(plan: Plan, bench: Bench, most: int = 60) -> tuple[list[StageResult], Stop]:
    """Run a plan to its end; fails after `most` stages."""
    history: list[StageResult] = []
    for _ in range(most):
        step = plan.next_stage(tuple(history))
        if isinstance(step, Stop):
            return history, step
        if isinstance(step, Hooked) and step.replicas is not None:
            bench.server = dataclasses.replace(bench.server, workers=step.replicas)
        result = bench.run(step.stage if isinstance(step, Hooked) else step)
        if isinstance(step, Hooked) and step.at is not None:
            begin = result.start + step.at
            history += phases(result, (), begin, begin + 1.0, 0.0)
        else:
            history.append(result)
    raise AssertionError(
        f"no end after {most} stages and {elapsed(history):.0f} s: {[r.stage.name for r in history]}"
    )


class SimulatedGenerator:
    """The same bench behind the generator's own interface."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.epoch = time.time()
        self.aborted = False
        self.finished = False
        self.closed = False

    async def run_stage(self, stage: Stage) -> AsyncIterator[SecondRecord | StageResult]:
        result = self.bench.run(stage)
        for record in seconds_of(result):
            yield record
        yield result

    async def finish(self) -> None:
        self.finished = True

    async def abort(self) -> None:
        self.aborted = True

    async def close(self) -> None:
        self.closed = True


def seconds_of(result: StageResult) -> Sequence[SecondRecord]:
    """The records of a stage, by the second in which requests ended."""
    edges = np.arange(result.start, max(result.end, float(result.log.end.max(initial=result.end))) + 1)
    found = []
    for begin in edges:
        part = result.log.select((result.log.end >= begin) & (result.log.end < begin + 1))
        names, counts = np.unique(part.outcome, return_counts=True)
        found.append(
            SecondRecord(
                result.stage.name,
                float(begin),
                float(begin + 1),
                {Outcome(int(k)).name.lower(): int(v) for k, v in zip(names, counts, strict=True)},
                latency_buckets(part.latency[part.ok]),
                part,
                0,
                0,
                0.2,
            )
        )
    return found
