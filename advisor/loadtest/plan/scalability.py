"""Scalability: a capacity search at each number of replicas, which the hook sets before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Capacity, Refusal, RequestLog, Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.capacity import CapacityPlan
from advisor.loadtest.plan.common import Hooked, elapsed
from advisor.loadtest.plan.estimate import Estimator, QuickEstimate
from advisor.loadtest.protocol import Caps
from advisor.units import format_seconds

SHORTEST = 15.0  # s; a capacity search of less finds nothing


@dataclass(frozen=True, slots=True)
class ScalabilityPlan:
    """`counts` of replicas in turn; each gets an equal share of the budget, its change included."""

    slo: Slo
    quick: QuickEstimate
    caps: Caps
    counts: tuple[int, ...]
    seed: int = 0
    scenario: str = "scalability"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Hooked | Stop:
        """The next stage of the search at this number of replicas, or the first one at the next."""
        reached = [count for count in self.counts if at_count(history, count)]
        if reached:
            step = self._step(history, reached[-1])
            if isinstance(step, Stage):
                return step
        if len(reached) == len(self.counts):
            return Stop(f"all {len(reached)} numbers of replicas had their turn")
        count = self.counts[len(reached)]
        if self._share(history, count) < SHORTEST:
            limit = format_seconds(self.caps.seconds)
            return Stop(f"the budget of {limit} ended before the turn of {_replicas(count)}")
        step = self._step(history, count)
        return Hooked(step, replicas=count) if isinstance(step, Stage) else step

    def _step(self, history: Sequence[StageResult], count: int) -> Stage | Stop:
        step = self._search(self._share(history, count)).next_stage(at_count(history, count))
        if isinstance(step, Stop):
            return step
        return dataclasses.replace(step, name=f"{step.name} ({_replicas(count)})")

    def _share(self, history: Sequence[StageResult], count: int) -> float:
        """Seconds that this number of replicas has for itself."""
        return (self.caps.seconds - _begin(history, count)) / (len(self.counts) - self.counts.index(count))

    def conclude(self, history: Sequence[StageResult], estimate: Estimator) -> dict[int, Capacity | Refusal]:
        """What all replicas hold together, by their number, for each number that had its turn."""
        reached = {count: at_count(history, count) for count in self.counts}
        return {
            count: self._search(self.caps.seconds).conclude(part, estimate)
            for count, part in reached.items()
            if part
        }

    def _search(self, seconds: float) -> CapacityPlan:
        caps = dataclasses.replace(self.caps, seconds=seconds)
        return CapacityPlan(self.slo, self.quick, caps, seed=self.seed)


def at_count(history: Sequence[StageResult], count: int) -> tuple[StageResult, ...]:
    """The stages at one number of replicas, as a run of their own that begins at second 0."""
    name, begin = f"({_replicas(count)})", _begin(history, count)
    return tuple(_moved(result, begin) for result in history if result.stage.name.endswith(name))


def _begin(history: Sequence[StageResult], count: int) -> float:
    name = f"({_replicas(count)})"
    mine = (result.start for result in history if result.stage.name.endswith(name))
    return next(mine, elapsed(history))


def _moved(result: StageResult, by: float) -> StageResult:
    log = result.log
    earlier = RequestLog(log.intended - by, log.sent - by, log.end - by, log.outcome, log.kind)
    return dataclasses.replace(result, start=result.start - by, end=result.end - by, log=earlier)


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"
