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

    def ended(self, latency: float, *, ok: bool) -> str | None:
        """Why the ramp ends with this completion (latency in s, from the intended start), or None."""
        stop = self._stop
        self._failures += not ok
        if self._failures >= stop.failures:
            return f"{self._failures} requests were rejected or failed"
        self._slow.append(latency > stop.latency)
        slow = sum(self._slow)
        if slow >= stop.slow_of and len(self._slow) >= min(stop.window, stop.slow_of):
            return f"{slow} of the last {len(self._slow)} answers took longer than {stop.latency:g} s"
        return None

    def sent(self, in_flight: int) -> str | None:
        """Why the ramp ends with this many requests in flight, or None."""
        if in_flight > self._stop.in_flight:
            return f"more than {self._stop.in_flight} requests were in flight"
        return None
