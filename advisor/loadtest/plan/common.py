"""What every scenario shares: its shape, and how it reads its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from advisor.domain import Arrivals, Stage, StageResult, Stop
from advisor.loadtest.protocol import Caps


@dataclass(frozen=True, slots=True)
class Hooked:
    """A stage with a change of the target by the run's hook.

    `at` None: the change comes before the stage, without load. Otherwise it begins `at` seconds into the
    stage, which ends `after` seconds past the end of the change.
    """

    stage: Stage
    at: float | None = None
    after: float = 0.0
    replicas: int | None = None  # how many there shall be; None leaves their number


class Plan(Protocol):
    """A scenario. `next_stage` is pure: the same history gives the same answer."""

    @property
    def scenario(self) -> str:
        """Its name in DESIGN's table."""

    @property
    def caps(self) -> Caps:
        """What the plan stays in: `seconds` is the budget of the whole run."""

    def next_stage(self, history: Sequence[StageResult]) -> Stage | Hooked | Stop:
        """The next stage to run, or why there is none."""


def last_moment(result: StageResult) -> float:
    """When the stage's last answer arrived (s since the run began)."""
    return max(result.end, float(result.log.end.max())) if len(result.log) else result.end


def elapsed(history: Sequence[StageResult]) -> float:
    """Seconds of the run used so far, drains included."""
    return max((last_moment(result) for result in history), default=0.0)


def all_done(stages: int) -> str:
    """Why a plan of fixed stages ended."""
    return "its stage is done" if stages == 1 else f"all {stages} stages are done"


def patience(history: Sequence[StageResult], caps: Caps, seconds: float = 0.0) -> float:
    """Seconds to wait for the last answers of a stage of `seconds`: never more than the run has left."""
    return max(min(60.0, caps.seconds - elapsed(history) - seconds), 1.0)


def named(history: Sequence[StageResult], name: str) -> list[StageResult]:
    """The stages of one kind: `knee` finds `knee 1`, `knee 2`."""
    return [r for r in history if r.stage.name.split(" ", 1)[0] == name]


def numbered(name: str, history: Sequence[StageResult]) -> str:
    """`knee 3` when two knee stages have run."""
    return f"{name} {len(named(history, name)) + 1}"


def ended_early(result: StageResult) -> bool:
    """A ramp that its stop rule ended, before its seconds were over."""
    return result.end - result.start < 0.97 * result.stage.seconds


def throughput(result: StageResult, seconds: float) -> float | None:
    """Highest rate of successful answers over any `seconds` of a stage (req/s), drain included."""
    ends = np.sort(result.log.end[result.log.ok])
    if ends.size < 2:
        return None
    inside = np.searchsorted(ends, ends + seconds, side="right") - np.arange(ends.size)
    span = max(seconds, 1e-9)
    if ends[-1] - ends[0] < seconds:
        return float((ends.size - 1) / max(ends[-1] - ends[0], 1e-9))
    full = ends <= ends[-1] - seconds
    return float(inside[full].max() / span)


def steady_arrivals(cv: float) -> Arrivals:
    """At one rate: Poisson's, unless the gaps shall have another coefficient of variation."""
    return Arrivals.POISSON if cv == 1 else Arrivals.GAMMA
