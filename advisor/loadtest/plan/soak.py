"""Soak: a share of the capacity for long, to find leaks and drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.common import elapsed, named, patience, steady_arrivals
from advisor.loadtest.plan.probe import first_guess
from advisor.loadtest.protocol import Caps
from advisor.units import format_rate, format_seconds

SHARE = 0.7


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """`rate` req/s (None: 0.7 of what a first ramp suggests) for `seconds`; `cv` of the arrivals' gaps."""

    slo: Slo
    caps: Caps
    rate: float | None = None
    seconds: float = 600.0
    cv: float = 1.0
    seed: int = 0
    scenario: str = "soak"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """First contact where the rate is unknown, then one long stage."""
        done = named(history, "soak")
        if done:
            length = format_seconds(done[0].end - done[0].start)
            return Stop(f"soak of {length} at {format_rate(done[0].stage.rate)} is done")
        value = self.rate
        if value is None:
            guess = first_guess(history, self.slo, self.caps, self.seed)
            if not isinstance(guess, float):
                return guess
            value = SHARE * guess
        left = self.caps.seconds - elapsed(history)
        seconds = max(min(self.seconds, 0.97 * left), 1.0)
        return Stage(
            "soak",
            steady_arrivals(self.cv),
            seconds,
            rate=min(value, self.caps.rate),
            drain=patience(history, self.caps, seconds),
            cv=self.cv,
            seed=self.seed + len(history),
        )
