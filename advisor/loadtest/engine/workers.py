"""The greenlets that carry requests: each owns at most one connection, and is used again while it is warm."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import gevent
from geventhttpclient._parser import HTTPParseError
from locust.env import Environment

from advisor.domain import Outcome
from advisor.loadtest.engine.answer import Answer, Kept
from advisor.loadtest.engine.connection import Address, Connection, OutOfResourcesError, connect
from advisor.loadtest.engine.events import Stream
from advisor.loadtest.engine.recorder import Columns
from advisor.loadtest.engine.wire import Wire
from advisor.loadtest.protocol import Connections, Setup, Told
from advisor.loadtest.statuses import outcome_of

_STALE_SECONDS = 0.5  # a close that crossed our request arrives within a round trip
_OPEN_SECONDS = 0.9  # a SYN that found the listen queue full comes again after 1 s
_OPEN_AT_ONCE = 3  # the shortest listen queues in use hold six: the last few may still be in it
_OPEN_TURN = 0.005  # s in which a server that is not busy takes them out of it
_FRUITLESS = 2  # turns in a row: it takes no more
_IDLE_SECONDS = 15.0  # connections left over from a burst hold slots of the server
_REAP_SECONDS = 0.02
_TELL_SECONDS = 0.05  # between the answers that are told: the comparing must not cost the sending
_MOST_TOLD = 20  # a second
_NOT_REFUSED = frozenset({Outcome.ACCEPTED, Outcome.SERVER_ERROR})

Job: TypeAlias = tuple[float, Wire]
OnEnd: TypeAlias = Callable[[float, Outcome], None]

_now = time.monotonic


class _TimedOutError(Exception):
    """The request's time is over."""


class _CancelledError(Exception):
    """Nobody waits for the answer any more."""


class Workers:
    """All workers of a run. `dispatch` starts a request; its end goes to `columns` and to `on_end`."""

    def __init__(self, setup: Setup, address: Address, environment: Environment) -> None:
        self.address = address
        self.connect_timeout = setup.connect_timeout
        self.timeout = setup.timeout
        self.reuse = setup.connections is Connections.REUSE
        self.cap = setup.caps.in_flight
        self.events = environment.events.request
        self.columns = Columns()
        self.in_flight = 0
        self.dropped = 0
        self.opening = 0
        self.on_end: OnEnd | None = None
        self._next_told = 0.0
        # Insertion order is order of deadline, because all requests have the same timeout.
        self.busy: dict[_Worker, float] = {}
        self._idle: deque[_Worker] = deque()  # the one used last goes first, so that surplus ones get old
        self._loop = gevent.get_hub().loop
        self._reaper = gevent.spawn(self._reap)

    def dispatch(self, intended: float, wire: Wire) -> None:
        """Start a request in the loop's next turn, or count it as dropped at the in-flight cap."""
        if self.in_flight >= self.cap:
            self.dropped += 1
            return
        self.in_flight += 1
        if self._idle:
            self._loop.run_callback(self._idle.pop().greenlet.switch, (intended, wire))
        else:
            _Worker(self, (intended, wire))

    def open_ahead(self, count: int, wanted: Callable[[], bool]) -> int:
        """Open connections while they are `wanted`, until `count` are idle or the server takes no more.

        Requests that then go at once meet the server's own queue, and not its listen queue, where those
        beyond its length would lose seconds in retransmissions.
        """
        for worker in [worker for worker in self._idle if worker.connection is None]:
            self._idle.remove(worker)
            worker.greenlet.kill(block=False)
        fruitless = 0
        while wanted() and fruitless < _FRUITLESS and (before := len(self._idle)) < count:
            self.opening = min(_OPEN_AT_ONCE, count - before)
            for _ in range(self.opening):
                _Worker(self, None)
            gevent.sleep(_OPEN_TURN)
            while self.opening:
                gevent.sleep(_OPEN_TURN)
            fruitless = 0 if len(self._idle) > before else fruitless + 1
        return len(self._idle)

    def cancel(self) -> None:
        """End every request in flight as cancelled, in the loop's next turn."""
        for worker in list(self.busy):
            self._loop.run_callback(worker.interrupt, worker.serial, _CancelledError)

    def cut(self) -> Columns:
        """What has ended since the last cut."""
        columns, self.columns = self.columns, Columns()
        return columns

    def answer_to(self, wire: Wire) -> Answer:
        """What reads the answer: its tokens, now and then its body, or nothing of it."""
        if wire.streaming:
            return Stream(head=wire.head)
        if wire.watched and (now := _now()) >= self._next_told:
            self._next_told = now + _TELL_SECONDS
            return Kept(head=wire.head)
        return Answer(head=wire.head)

    def rest(self, worker: _Worker) -> None:
        """Back to the idle ones."""
        self._idle.append(worker)

    def _reap(self) -> None:
        while True:
            gevent.sleep(_REAP_SECONDS)
            now = _now()
            late = []
            for worker, deadline in self.busy.items():
                if deadline > now:
                    break
                late.append(worker)
            for worker in late:
                self._loop.run_callback(worker.interrupt, worker.serial, _TimedOutError)
            while self._idle and self._idle[0].since < now - _IDLE_SECONDS:
                worker = self._idle.popleft()
                worker.disconnect()
                worker.greenlet.kill(block=False)


class _Worker:
    __slots__ = ("connection", "greenlet", "pool", "reached", "serial", "since")

    def __init__(self, pool: Workers, job: Job | None) -> None:
        self.pool = pool
        self.connection: Connection | None = None
        self.reached = 0.0  # when the server could know of the request
        self.serial = 0  # of the request it carries: an interruption must not hit the next one
        self.since = 0.0  # idle since
        self.greenlet = gevent.spawn(self._live, job)

    def interrupt(self, serial: int, error: type[Exception]) -> None:
        """Raise `error` in the request of that serial, unless it is over. For the hub's callbacks alone."""
        if self.serial == serial and self in self.pool.busy:
            self.greenlet.throw(error)

    def disconnect(self) -> None:
        """Close the connection, if any."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _live(self, job: Job | None) -> None:
        """Carry request after request; without a first one, open a connection for it, if that is possible."""
        hub = gevent.get_hub()
        try:
            if job is None and not self._opened():
                return
            while True:
                if job is not None:
                    self._carry(job)
                self.since = _now()
                self.pool.rest(self)
                job = self._next_job(hub)
        except Exception:  # noqa: BLE001 - a mistake of ours must not pass for one of the server's
            traceback.print_exc()
            os._exit(70)

    def _opened(self) -> bool:
        try:
            with gevent.Timeout(_OPEN_SECONDS, _TimedOutError):
                self.connection = connect(self.pool.address)
        except (OSError, _TimedOutError, OutOfResourcesError):
            return False
        finally:
            self.pool.opening -= 1
        return True

    def _next_job(self, hub: gevent.hub.Hub) -> Job:
        while True:
            job: Job | None = hub.switch() or None
            if job is not None:
                return job
            # The idle connection woke us: most often, the server has closed it.
            if self.connection is not None and not self.connection.usable():
                self.disconnect()

    def _carry(self, job: Job) -> None:
        pool = self.pool
        intended, wire = job
        # Connecting, and sending again after a connection died, is the server's time and not our delay.
        self.reached = turn = _now()
        pool.columns.delays.append(turn - intended)
        self.serial += 1
        pool.busy[self] = turn + pool.timeout
        failure: Exception | None = None
        answer: Answer | None = None
        try:
            outcome, end, answer = self._exchange(wire)
        except (OSError, HTTPParseError, _TimedOutError, _CancelledError, OutOfResourcesError) as error:
            end = _now()
            self.disconnect()
            failure = error
            outcome = _OUTCOMES.get(type(error), Outcome.CONNECTION)
        finally:
            del pool.busy[self]
        pool.in_flight -= 1
        if isinstance(failure, OutOfResourcesError):
            pool.dropped += 1  # the machine's lack, not the server's failure
        else:
            pool.columns.add(intended, self.reached, end, outcome, wire.kind)
            if wire.refused and outcome in _NOT_REFUSED and len(pool.columns.told) < _MOST_TOLD:
                pool.columns.told.append(Told(wire.kind, wire.entry, outcome=outcome))
            if answer is not None and outcome is Outcome.OK:
                if answer.times:
                    pool.columns.add_stream(intended, self.reached, answer.times, answer.tokens)
                if answer.body is not None:
                    pool.columns.told.append(Told(wire.kind, wire.entry, bytes(answer.body)))
            pool.events.fire(
                request_type=wire.method,
                name=wire.name,
                response_time=(end - intended) * 1e3,
                response_length=0,
                exception=failure or (None if outcome is Outcome.OK else _Unexpected(outcome.name.lower())),
                context={},
                url=wire.path,
            )
        if pool.on_end is not None:
            pool.on_end(end - intended, outcome)

    def _exchange(self, wire: Wire) -> tuple[Outcome, float, Answer]:
        """The outcome, when the last byte was there, and the answer."""
        while True:
            connection, reused = self.connection, self.connection is not None
            if connection is None:
                before = _now()
                with gevent.Timeout(self.pool.connect_timeout, _TimedOutError):
                    connection = self.connection = connect(self.pool.address)
                if (opened := _now()) - before > _OPEN_SECONDS:
                    self.reached = opened
            written = _now()
            # A server that refuses a body early may have answered before it closed: read on.
            with contextlib.suppress(OSError):
                connection.send(wire.data)
            answer = self.pool.answer_to(wire)
            try:
                end = _read(connection, answer)
            except OSError:
                # A server may close a connection while the next request is on its way: that is no failure.
                if reused and answer.untouched and _now() - written < _STALE_SECONDS:
                    self.disconnect()
                    continue
                raise
            if not (self.pool.reuse and answer.reusable):
                self.disconnect()
            return outcome_of(answer.get_code(), wire.expected), end, answer


class _Unexpected(Exception):  # noqa: N818 - what Locust's listeners see of an answer that was not expected
    pass


def _read(connection: Connection, answer: Answer) -> float:
    while True:
        data = connection.receive()
        answer.now = end = _now()
        if data:
            answer.untouched = False
        elif answer.untouched:
            raise ConnectionResetError("closed before the first byte of the answer")
        try:
            answer.feed(data)
        except HTTPParseError:
            if not answer.complete:
                raise
            answer.surplus = True  # such as a body where the status allows none: the answer itself is whole
        if answer.complete:
            return end
        if not data:
            raise ConnectionResetError("closed in the middle of the answer")


_OUTCOMES: dict[type[Exception], Outcome] = {
    _TimedOutError: Outcome.TIMEOUT,
    _CancelledError: Outcome.CANCELLED,
    TimeoutError: Outcome.TIMEOUT,  # the kernel's own, ETIMEDOUT
}
