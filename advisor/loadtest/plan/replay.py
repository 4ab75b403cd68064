"""Replay: production's own demand curve, times a factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Arrivals, Stage, StageResult, Stop
from advisor.loadtest.plan.common import patience
from advisor.loadtest.plan.curve import Curve, capped, scaled, shortened
from advisor.loadtest.protocol import Caps
from advisor.units import format_rate, format_seconds


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """`curve`: (s, req/s) points from 0 on, linear in between; followed once, rates times `factor`."""

    curve: Curve
    caps: Caps
    factor: float = 1.0
    cv: float = 1.0
    seed: int = 0
    scenario: str = "replay"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """The whole curve as one stage; the reason tells where the rate cap cut it."""
        wanted = scaled(self.curve, self.factor)
        limited, cut = capped(wanted, self.caps.rate)
        if len(limited) < 2:
            return Stop("a demand curve needs at least two points")
        curve = shortened(limited, 0.95 * self.caps.seconds)
        if history:
            top = max(value for _, value in wanted)
            limit = format_rate(self.caps.rate)
            words = f", cut from {format_rate(top)} to the rate cap of {limit}" if cut else ""
            if len(curve) < len(limited):
                words += f", in its first {format_seconds(curve[-1][0])} of {format_seconds(limited[-1][0])}"
            return Stop(f"the demand curve is done{words}")
        seconds = curve[-1][0]
        return Stage(
            "replay",
            Arrivals.REPLAY,
            seconds,
            rate=curve[0][1],
            curve=curve,
            drain=patience(history, self.caps, seconds),
            seed=self.seed,
            cv=self.cv,
        )
