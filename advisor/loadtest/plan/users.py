"""A locustfile's users: closed loop, a stage for each number of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.domain import Arrivals, Stage, StageResult, Stop
from advisor.loadtest.plan.common import all_done, elapsed, ended_early
from advisor.loadtest.protocol import Caps

FINDING = "locustfile"  # among the findings: what its listeners said at the end
STEPS = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the users, for stress
DRAIN = 10.0  # s for the users to end their tasks

Level = tuple[str, int, float]


@dataclass(frozen=True, slots=True)
class UsersPlan:
    """`levels`: (stage, users, s), one after another. `spawn_rate` users start a second; None starts all at
    once. Users stay from one stage to the next: only the last one waits for them to end.
    """

    scenario: str
    levels: tuple[Level, ...]
    caps: Caps
    spawn_rate: float | None = None

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Stop:
        """The next level, unless the locustfile itself ended the test."""
        done = len(history)
        if history and ended_early(history[-1]):
            return Stop(
                f"the users of '{history[-1].stage.name}' ended before their time: the locustfile ended its "
                f"test, or they exceeded the cap of {self.caps.rate:g}/s"
            )
        if done == len(self.levels):
            return Stop(all_done(done))
        left = self.caps.seconds - elapsed(history)
        if left < 1.0:
            return Stop(
                f"the budget of {self.caps.seconds:g} s ended after {done} of {len(self.levels)} stages"
            )
        name, users, seconds = self.levels[done]
        last = done + 1 == len(self.levels) or seconds + 1.0 > left
        return Stage(
            name,
            Arrivals.USERS,
            min(seconds, left),
            rate=self.spawn_rate or users,
            count=users,
            drain=DRAIN if last else 0.0,
        )


def users_levels(scenario: str, users: int, seconds: float | None, factor: float) -> tuple[Level, ...] | None:
    """The levels of a scenario; None where it needs an open loop. `seconds`: of its own phase."""
    match scenario:
        case "smoke":
            return (("smoke", users, seconds or 10.0),)
        case "load":
            return (("load 1", users, seconds or 30.0),)
        case "soak":
            return (("soak", users, seconds or 600.0),)
        case "spike":
            phase = seconds or 30.0
            return (
                ("before", users, phase),
                ("peak", math.ceil(factor * users), phase),
                ("after", users, 2 * phase),
            )
        case "stress":
            counts = dict.fromkeys(max(1, round(share * users)) for share in STEPS)
            return tuple((f"step {n}", count, seconds or 15.0) for n, count in enumerate(counts, 1))
        case _:
            return None
