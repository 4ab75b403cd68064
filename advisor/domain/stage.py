"""A part of a run: what is asked of the generator, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from advisor.domain.requests import RequestLog, StreamLog
from advisor.domain.window import Window

_Count = TypeVar("_Count", int, NDArray[np.int64])


class Arrivals(StrEnum):
    """How a stage spaces its requests."""

    SINGLE = "single"  # one at a time, the next when the last has ended
    POISSON = "poisson"
    CONSTANT = "constant"
    GAMMA = "gamma"  # gaps of a gamma law with coefficient of variation `cv`: bursts, or evenness
    RAMP = "ramp"  # Poisson, the rate doubling every `doubling` seconds
    VOLLEY = "volley"  # `count` requests at once
    REPLAY = "replay"  # Poisson along `curve`
    USERS = "users"  # closed loop: `count` users of a locustfile, `rate` of them started a second

    @property
    def steady(self) -> bool:
        """One rate from the first request to the last, whether or not the server keeps up."""
        return self in {Arrivals.POISSON, Arrivals.CONSTANT, Arrivals.GAMMA}

    @property
    def demand(self) -> bool:
        """Load as users would bring it, to be held to the objective: no probe one by one, ramp or volley."""
        return self.steady or self in {Arrivals.REPLAY, Arrivals.USERS}


@dataclass(frozen=True, slots=True)
class RampStop:
    """A ramp ends when the server is past its knee, not at a clock time.

    It ends when `slow_of` of the last `window` completions took longer than `latency`, at `failures`
    rejected or failed requests, with more than `in_flight` requests in flight, or with more than `backlog`
    seconds of them: at the pace of the answers of its last sixth, and 25 more; not in the first half of
    it, when hardly an answer has come. A slow server shows its knee in what it has not answered long
    before it does in what it has.
    """

    latency: float
    window: int = 15
    slow_of: int = 12
    failures: int = 6
    in_flight: int = 10_000
    backlog: float | None = None

    @staticmethod
    def most_waiting(answered: _Count) -> _Count:
        """Requests in flight that are no more than `backlog`, with `answered` in the last sixth of it."""
        return 25 + 6 * answered


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run at one load: what the generator is asked to do.

    `rate` in req/s (a ramp's first rate; unused for SINGLE and VOLLEY); `seconds` bounds the sending of new
    requests; afterwards the generator waits up to `drain` seconds until nothing is in flight.
    """

    name: str
    arrivals: Arrivals
    seconds: float
    rate: float = 0.0
    doubling: float | None = None
    count: int | None = None
    stop: RampStop | None = None
    curve: tuple[tuple[float, float], ...] = ()  # (s since the stage began, req/s), linear in between
    cv: float = 1.0  # of the gaps, for GAMMA and REPLAY: 1 is Poisson, above it bursts, below it evenness
    drain: float = 30.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """A plan's last word, with the reason built from the numbers that decided it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several generators sent of a stage. `lost`: why and when it was gone, in words; `lag`: how
    late (s) its measurements came at the most; `late`: it came after the run had begun.
    """

    name: str
    requests: int
    lost: str | None = None
    lag: float = 0.0
    late: bool = False


@dataclass(frozen=True, slots=True)
class StageResult:
    """What one stage gave. `start`, `end` bound the asking (s since the run began); the log may end later."""

    stage: Stage
    start: float
    end: float
    log: RequestLog
    dropped: int = 0  # arrivals beyond the in-flight cap
    drained: bool = True  # nothing in flight at the end of `drain`
    dispatch_delay_p99: float | None = None
    generator_cpu: float | None = None  # cores used by the generator, 1.0 is one full core
    windows: tuple[Window, ...] = ()  # the sidecar's view, where there is one
    streams: StreamLog | None = None  # of streamed answers
    shares: tuple[Share, ...] = ()  # where several generators sent it

    @property
    def offered_rps(self) -> float | None:
        """Requests asked for in a second of the stage, dropped ones included."""
        seconds = self.end - self.start
        return (len(self.log) + self.dropped) / seconds if seconds > 0 else None

    @property
    def completed_rps(self) -> float | None:
        """Successful answers that came within the stage's own seconds, in req/s."""
        seconds = self.end - self.start
        done = int(np.count_nonzero(self.log.ok & (self.log.end <= self.end)))
        return done / seconds if seconds > 0 else None
