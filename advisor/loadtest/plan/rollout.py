"""Rollout: steady load while the hook changes the version, as one stage, so that no request is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.common import Hooked, elapsed, named, patience, steady_arrivals
from advisor.loadtest.plan.probe import first_guess
from advisor.loadtest.protocol import Caps
from advisor.units import format_rate, format_seconds

SHARE = 0.5  # of the capacity: where production usually runs
PHASES = ("before", "during", "after")


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """`rate` req/s (None: half of what a first ramp suggests) for `before` seconds, while the hook works (at
    most `patience` seconds), and for `after` seconds more. `cv` of the gaps between arrivals.
    """

    slo: Slo
    caps: Caps
    rate: float | None = None
    before: float = 30.0
    after: float = 60.0
    patience: float = 300.0
    cv: float = 1.0
    seed: int = 0
    scenario: str = "rollout"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Hooked | Stop:
        """First contact where the rate is unknown, then the one stage with the hook in it."""
        if named(history, PHASES[0]):
            done = named(history, PHASES[1])
            length = format_seconds(sum(result.end - result.start for result in done))
            return Stop(f"the change took {length} under {format_rate(history[-1].stage.rate)}")
        value = self.rate
        if value is None:
            guess = first_guess(history, self.slo, self.caps, self.seed)
            if not isinstance(guess, float):
                return guess
            value = SHARE * guess
        left = self.caps.seconds - elapsed(history)
        whole = self.before + self.patience + self.after
        shrink = min(1.0, 0.95 * left / (self.before + self.after))
        seconds = min(whole, 0.97 * left)
        stage = Stage(
            "rollout",
            steady_arrivals(self.cv),
            seconds,
            rate=min(value, self.caps.rate),
            drain=patience(history, self.caps, seconds),
            seed=self.seed + len(history),
            cv=self.cv,
        )
        return Hooked(stage, at=self.before * shrink, after=self.after * shrink)
