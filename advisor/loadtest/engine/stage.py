"""One stage: send at the times that were drawn, tell each second, wait until nothing is in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import gevent

from advisor.domain import Arrivals, Outcome, Stage
from advisor.loadtest.engine.alarm import Alarm
from advisor.loadtest.engine.ramp import RampJudge
from advisor.loadtest.engine.telling import Telling
from advisor.loadtest.engine.wire import Wire
from advisor.loadtest.engine.workers import Workers
from advisor.loadtest.protocol import Caps, SecondRecord, StageEnd

_TURN = 64  # requests started before answers get their turn
_CANCEL_SECONDS = 0.5
_LONGEST_PAUSE = 1.0  # s between single requests that the server turns away

_now = time.monotonic


class StageRun:
    """Runs one stage on a run's workers; `tell` gets a `SecondRecord` each second.

    `due`: seconds from the stage's beginning, chunk by chunk; each takes the next of `requests`.
    """

    def __init__(
        self,
        stage: Stage,
        workers: Workers,
        due: Iterator[list[float]],
        requests: Iterator[Wire],
        caps: Caps,
        tell: Callable[[SecondRecord], None],
        epoch: float,
        latest_end: float,
    ) -> None:
        self._stage = stage
        self._workers = workers
        self._due = due
        self._requests = requests
        self._caps = caps
        self._tell = tell
        self._epoch = epoch
        self._latest_end = latest_end  # by time.monotonic: where the run's cap of seconds ends
        self._alarm = Alarm()
        self._judge = RampJudge(stage.stop) if stage.stop else None
        self._gap = 1 / caps.rate  # s between the starts of single requests, at least
        self._reason = ""  # set once something ends the sending early
        self._sending = True
        self._aborted = False

    def abort(self) -> None:
        """End it now: what is in flight is cancelled."""
        self._aborted = True
        self._stop("aborted")
        self._alarm.ring()

    def finish(self) -> None:
        """Send nothing more; what is in flight may end."""
        self._stop("told to finish")
        self._alarm.ring()

    def run(self) -> StageEnd:
        """Blocks the calling greenlet until the stage is over."""
        if self._stage.arrivals is Arrivals.VOLLEY:
            self._due = self._as_many_as_connect()
        telling = Telling(self._stage, self._workers, self._tell, self._epoch)
        self._begin = telling.begin
        self._until = min(self._begin + self._stage.seconds, self._latest_end)
        self._workers.on_end = self._ended
        try:
            end = self._send()
            self._sending = False
            telling.sent()
            drained = self._drain()
        finally:
            self._workers.on_end = None
            self._alarm.close()
        return telling.finish(end, self._reason or "all requests were sent", drained=drained)

    # --------------------------------------------------------------------------------------------- sending

    def _send(self) -> float:
        """Send everything; returns when the asking ended."""
        if self._stage.arrivals is Arrivals.SINGLE:
            self._one_by_one()
        else:
            self._open_loop()
            if self._stage.arrivals is Arrivals.VOLLEY:
                return _now()
            self._sleep_until(self._until)
        if self._until == self._latest_end and not self._reason:
            self._reason = f"the run's cap of {self._caps.seconds:g} s was reached"
        return min(_now(), self._until)

    def _open_loop(self) -> None:
        workers, judge, turn = self._workers, self._judge, 0
        for chunk in self._due:
            for offset in chunk:
                due = self._begin + offset
                if due > self._until:
                    return
                turn += 1
                if turn > _TURN or due > _now():
                    self._sleep_until(due)
                    turn = 0
                if self._reason:
                    return
                workers.dispatch(due, next(self._requests))
                if judge is not None and (reason := judge.sent(workers.in_flight, _now())):
                    self._stop(reason)

    def _as_many_as_connect(self) -> Iterator[list[float]]:
        due = [offset for chunk in self._due for offset in chunk]
        connected = self._workers.open_ahead(len(due), lambda: not self._reason)
        return iter([due[: connected or len(due)]])  # where none stays open, each brings its own

    def _one_by_one(self) -> None:
        count, due = 0, self._begin
        while count != self._stage.count:
            self._sleep_until(min(due, self._until))
            if self._reason or (now := _now()) >= self._until:
                return
            self._workers.dispatch(now, next(self._requests))
            count += 1
            while self._workers.in_flight and not self._reason and _now() < self._until:
                self._alarm.sleep_until(self._until)
            due = now + self._gap

    def _sleep_until(self, when: float) -> None:
        """Give way at least once, and come back at `when`, or as soon as there is a reason to stop."""
        while not self._reason:
            self._alarm.sleep_until(when)
            if _now() >= when:
                return

    def _stop(self, reason: str) -> None:
        self._reason = self._reason or reason

    def _ended(self, latency: float, outcome: Outcome) -> None:
        if self._judge is not None and self._sending and not self._reason:
            reason = self._judge.ended(latency, _now(), ok=outcome is Outcome.OK)
            if reason:
                self._stop(reason)
                self._alarm.ring()
        single = self._stage.arrivals is Arrivals.SINGLE
        if single and outcome is Outcome.REJECTED:
            self._gap = min(2 * self._gap, _LONGEST_PAUSE)  # one at a time, and still too fast for its limit
        if self._workers.in_flight == 0 and (single or not self._sending):
            self._alarm.ring()

    # -------------------------------------------------------------------------------------------- draining

    def _drain(self) -> bool:
        """Wait until nothing is in flight; what still is after `drain` seconds is cancelled and told."""
        deadline = _now() + self._stage.drain
        while self._workers.in_flight and not self._aborted and _now() < deadline:
            self._alarm.sleep_until(deadline)
        drained = self._workers.in_flight == 0
        give_up = _now() + _CANCEL_SECONDS
        while self._workers.in_flight and _now() < give_up:
            self._workers.cancel()
            gevent.sleep(0.01)
        return drained
