"""When a ramp is past the knee. Judged here, not by the plan: it must react within milliseconds."""

from __future__ import annotations

from collections import deque

from advisor.domain import RampStop


class RampJudge:
    """Follows completions and requests in flight against a `RampStop`."""

    def __init__(self, stop: RampStop) -> None:
        self._stop = stop
        self._slow: deque[bool] = deque(maxlen=stop.window)
        self._failures = 0
        self._begun: float | None = None
        self._answers: deque[float] = deque()  # when they came, in the last sixth of the backlog

    def ended(self, latency: float, now: float, *, ok: bool) -> str | None:
        """Why the ramp ends with this answer (latency in s, from the intended start) at `now`, or None."""
        stop = self._stop
        self._failures += not ok
        if stop.backlog is not None:
            self._answers.append(now)
        if self._failures >= stop.failures:
            return f"{self._failures} requests were rejected or failed"
        self._slow.append(latency > stop.latency)
        slow = sum(self._slow)
        if slow >= stop.slow_of and len(self._slow) >= min(stop.window, stop.slow_of):
            return f"{slow} of the last {len(self._slow)} answers took longer than {stop.latency:g} s"
        return None

    def sent(self, in_flight: int, now: float) -> str | None:
        """Why the ramp ends with this many requests in flight, or None."""
        stop = self._stop
        if in_flight > stop.in_flight:
            return f"more than {stop.in_flight} requests were in flight"
        if self._begun is None:
            self._begun = now
        if stop.backlog is None or now - self._begun < stop.backlog / 2:
            return None
        while self._answers and self._answers[0] <= now - stop.backlog / 6:
            self._answers.popleft()
        if in_flight > stop.most_waiting(len(self._answers)):
            return f"{in_flight} requests were in flight, more than {stop.backlog:g} s of work"
        return None
