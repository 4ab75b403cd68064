"""Stress: step by step beyond the capacity, then back, as one stage: how it fails, and how it recovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Arrivals, Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.common import elapsed, named, patience
from advisor.loadtest.plan.curve import capped, staircase
from advisor.loadtest.plan.probe import first_guess
from advisor.loadtest.protocol import Caps
from advisor.units import format_rate

STEPS = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0)  # of the capacity
BACK = 0.5


@dataclass(frozen=True, slots=True)
class StressPlan:
    """`capacity` req/s (None: what a first ramp suggests); `step` seconds at each of STEPS, then `after` at
    half.
    """

    slo: Slo
    caps: Caps
    capacity: float | None = None
    step: float = 15.0
    after: float = 60.0
    seed: int = 0
    scenario: str = "stress"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """First contact where the capacity is unknown, then the stairs."""
        done = named(history, "stress")
        if done:
            top = max(value for _, value in done[0].stage.curve)
            return Stop(f"stress up to {format_rate(top)} and back is done")
        capacity = self.capacity
        if capacity is None:
            guess = first_guess(history, self.slo, self.caps, self.seed)
            if not isinstance(guess, float):
                return guess
            capacity = guess / 0.7
        left = self.caps.seconds - elapsed(history)
        whole = self.step * len(STEPS) + self.after
        shrink = min(1.0, 0.95 * left / whole)
        steps = [(self.step * shrink, share * capacity) for share in STEPS]
        curve, _ = capped(staircase([*steps, (self.after * shrink, BACK * capacity)]), self.caps.rate)
        seconds = whole * shrink
        return Stage(
            "stress",
            Arrivals.REPLAY,
            seconds,
            rate=curve[0][1],
            curve=curve,
            drain=patience(history, self.caps, seconds),
            seed=self.seed + len(history),
        )
