"""Load: fixed stages, one a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Stage, StageResult, Stop
from advisor.loadtest.plan.common import all_done, elapsed, steady_arrivals
from advisor.loadtest.protocol import Caps


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """`rates` (req/s), each held for `seconds`; those above the rate cap are held at the cap, once."""

    rates: tuple[float, ...]
    caps: Caps
    seconds: float = 30.0
    cv: float = 1.0
    seed: int = 0
    scenario: str = "load"

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """The next rate."""
        rates = list(dict.fromkeys(min(value, self.caps.rate) for value in self.rates))
        done = len(history)
        if done == len(rates):
            return Stop(all_done(done))
        left = self.caps.seconds - elapsed(history)
        if left < min(self.seconds, 5.0):
            return Stop(f"the budget of {self.caps.seconds:g} s ended after {done} of {len(rates)} stages")
        seconds = min(self.seconds, left)
        drain = max(min(60.0, left - seconds), 1.0)
        name = f"load {done + 1}"
        return Stage(
            name,
            steady_arrivals(self.cv),
            seconds,
            rate=rates[done],
            drain=drain,
            seed=self.seed + done,
            cv=self.cv,
        )
