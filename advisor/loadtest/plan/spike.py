"""Spike: base → sudden × k → base, as one stage, so that no request between the phases is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Arrivals, Slo, Stage, StageResult, Stop
from advisor.loadtest.plan.common import elapsed, named, rate
from advisor.loadtest.plan.curve import staircase
from advisor.loadtest.plan.probe import next_probe, typical_capacity, unloaded
from advisor.loadtest.protocol import Caps

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
            return Stop(f"spike from {rate(low)} to {rate(high)} and back is done")
        if self.base is None:
            probe = next_probe(history, self.slo, self.caps, self.seed)
            if probe is not None:
                return probe
            seen = unloaded(history)
            guess = typical_capacity(history, seen) if seen else None
            if guess is None:
                return Stop("no base rate is known: the ramp gave no throughput; say the rate")
            return self._spike(history, SHARE * guess)
        return self._spike(history, self.base)

    def _spike(self, history: Sequence[StageResult], base: float) -> Stage | Stop:
        peak = min(self.factor * base, self.caps.rate)
        if peak <= base:
            return Stop(
                f"the rate cap of {rate(self.caps.rate)} leaves no room for a spike above {rate(base)}"
            )
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
            drain=max(min(60.0, left - seconds), 1.0),
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
