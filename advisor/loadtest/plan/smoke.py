"""Smoke: a few requests of every kind, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Arrivals, Stage, StageResult, Stop
from advisor.loadtest.protocol import Caps


@dataclass(frozen=True, slots=True)
class SmokePlan:
    """`kinds`: how many request kinds the target has; each is sent about `each` times."""

    caps: Caps
    kinds: int = 1
    each: int = 5
    seed: int = 0
    scenario: str = "smoke"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """One single-stream stage, then the count of what was answered as expected."""
        if not history:
            seconds = min(30.0, self.caps.seconds / 2)
            count = self.kinds * self.each
            return Stage("single 1", Arrivals.SINGLE, seconds, count=count, drain=seconds, seed=self.seed)
        log = history[0].log
        return Stop(f"{int(log.ok.sum())} of {len(log)} requests answered as expected")
