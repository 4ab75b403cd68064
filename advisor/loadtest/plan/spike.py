"""Spike: base → sudden × k → base, as one stage, so that no request between the phases is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Arrivals, Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.common import elapsed, named, patience
from advisor.loadtest.plan.curve import staircase
from advisor.loadtest.plan.probe import first_guess
from advisor.loadtest.protocol import Caps
from advisor.units import format_rate

SHARE = 0.5  # of the capacity: where production usually runs


@dataclass(frozen=True, slots=True)
class SpikePlan:
    """`base` req/s (None: half of what a first ramp suggests), then `factor` times as much, then `base`
    again.

    Each phase has its seconds; a budget that is too short shortens all three alike.
    """

    slo: Slo
    caps: Caps
    base: float | None = None
    factor: float = 3.0
    before: float = 30.0
    during: float = 30.0
    after: float = 60.0
    cv: float = 1.0
    seed: int = 0
    scenario: str = "spike"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """First contact where `base` is unknown, then the spike."""
        done = named(history, "spike")
        if done:
            low, high = spike_rates(done[0].stage)
            return Stop(f"spike from {format_rate(low)} to {format_rate(high)} and back is done")
        if self.base is None:
            guess = first_guess(history, self.slo, self.caps, self.seed)
            if not isinstance(guess, float):
                return guess
            return self._spike(history, SHARE * guess)
        return self._spike(history, self.base)

    def _spike(self, history: Sequence[StageResult], base: float) -> Stage | Stop:
        peak = min(self.factor * base, self.caps.rate)
        if peak <= base:
            limit = format_rate(self.caps.rate)
            return Stop(f"the rate cap of {limit} leaves no room for a spike above {format_rate(base)}")
        left = self.caps.seconds - elapsed(history)
        whole = self.before + self.during + self.after
        shrink = min(1.0, 0.95 * left / whole)
        steps = [(self.before * shrink, base), (self.during * shrink, peak), (self.after * shrink, base)]
        seconds = whole * shrink
        return Stage(
            "spike",
            Arrivals.REPLAY,
            seconds,
            rate=base,
            curve=staircase(steps),
            drain=patience(history, self.caps, seconds),
            seed=self.seed + len(history),
            cv=self.cv,
        )


def spike_rates(stage: Stage) -> tuple[float, float]:
    """Base and peak of a spike stage (req/s)."""
    return stage.curve[0][1], max(value for _, value in stage.curve)


def spike_times(stage: Stage) -> tuple[float, float]:
    """When the spike begins and ends (s since the stage began)."""
    base, peak = spike_rates(stage)
    high = [t for t, value in stage.curve if value == peak and value > base]
    return min(high), max(high)
