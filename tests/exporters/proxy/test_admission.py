"""First in, first out; waits and integrals as an event log has them."""

from __future__ import annotations

import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters import names
from exporters.proxy.admission import Admission, Entry
from exporters.samples import HistogramSample
from tests.exporters.proxy.wire import PATIENCE, Wire, answer, proxied, wait_until

GET = b"GET /%d HTTP/1.1\r\nHost: m\r\n\r\n"


@given(
    st.integers(1, 4),
    st.integers(0, 5),
    st.lists(st.tuples(st.sampled_from(["enter", "leave", "abandon"]), st.integers(0, 30)), max_size=80),
)
def test_admission_keeps_its_limits_and_the_order(max_in_flight: int, max_queue: int, steps: list) -> None:
    """Against a model made of two plain lists."""
    admission: Admission[int] = Admission(max_in_flight, max_queue)
    inside: list[int] = []
    waiting: list[int] = []
    for ticket, (step, which) in enumerate(steps):
        if step == "enter":
            entry = admission.enter(ticket)
            if len(inside) < max_in_flight and not waiting:
                inside.append(ticket)
                assert entry is Entry.ADMITTED
            elif len(waiting) < max_queue:
                waiting.append(ticket)
                assert entry is Entry.QUEUED
            else:
                assert entry is Entry.REJECTED
        elif step == "leave" and inside:
            inside.pop(which % len(inside))
            following = admission.leave()
            if waiting:
                assert following == waiting[0]
                inside.append(waiting.pop(0))
            else:
                assert following is None
        elif step == "abandon" and waiting:
            admission.abandon(waiting.pop(which % len(waiting)))
        assert (admission.inside, admission.waiting) == (len(inside), len(waiting))
        assert admission.inside <= max_in_flight


def test_abandoning_what_does_not_wait_is_an_error() -> None:
    with pytest.raises(KeyError):
        Admission[int](1, 1).abandon(7)


class Gate:
    """A model server that answers a path once it is opened, and remembers the order in which they came."""

    def __init__(self) -> None:
        self.order: list[bytes] = []
        self._opened: set[bytes] = set()
        self._changed = threading.Condition()

    def open(self, *numbers: int) -> None:
        with self._changed:
            self._opened |= {b"/%d" % number for number in numbers}
            self._changed.notify_all()

    def __call__(self, wire: Wire) -> None:
        while True:
            path = wire.message()[0].split(b" ")[1]
            self.order.append(path)
            with self._changed:
                assert self._changed.wait_for(lambda: path in self._opened, PATIENCE)  # noqa: B023
            wire.send(answer(path))


def test_the_queue_is_first_in_first_out_and_bounded() -> None:
    gate = Gate()
    with proxied(gate, max_in_flight=2, max_queue=5) as (proxy, server):
        wires = []
        for i in range(7):
            wires.append(proxy.client().send(GET % i))
            wait_until(lambda: proxy.proxy.in_flight == len(wires), "taken in")
        assert proxy.value(names.IN_FLIGHT, "default") == 2
        assert proxy.value(names.QUEUE_DEPTH, "default") == 5
        head, body = proxy.client().send(GET % 7).message()
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 1\r\n" in head
        assert b"X-Exporter-Reason: queue-full\r\n" in head
        assert body
        wait_until(lambda: sorted(gate.order) == [b"/0", b"/1"], "two are executed")
        for i in range(7):
            gate.open(i)
            assert wires[i].message()[1] == b"/%d" % i
        rows = [row for row in proxy.meter.ring.read(0) if row[4] == names.OK]
        starts = [start for _, start, *_ in sorted(rows)]
        assert starts == sorted(starts), "in the order of arrival"
        assert server.connections == 2
        proxy.wait_outcomes(ok=7, rejected=1)


def test_one_who_leaves_the_queue_makes_room() -> None:
    gate = Gate()
    with proxied(gate, max_in_flight=1, max_queue=1) as (proxy, _):
        first = proxy.client().send(GET % 1)
        wait_until(lambda: proxy.proxy.in_flight == 1, "executing")
        second = proxy.client().send(GET % 2)
        wait_until(lambda: proxy.proxy.admission.waiting == 1, "waiting")
        second.close()
        proxy.wait_outcomes(cancelled=1)
        third = proxy.client().send(GET % 3)
        wait_until(lambda: proxy.proxy.admission.waiting == 1, "waiting")
        gate.open(1, 3)
        assert first.message()[1] == b"/1"
        assert third.message()[1] == b"/3"
        assert gate.order == [b"/1", b"/3"], "what nobody waits for is never executed"
        proxy.wait_outcomes(ok=2, cancelled=1)


def test_a_cancelled_execution_gives_its_place_to_the_next() -> None:
    gate = Gate()
    with proxied(gate, max_in_flight=1, max_queue=1) as (proxy, _):
        first = proxy.client().send(GET % 1)
        wait_until(lambda: gate.order == [b"/1"], "executing")
        second = proxy.client().send(GET % 2)
        wait_until(lambda: proxy.proxy.admission.waiting == 1, "waiting")
        first.close()
        wait_until(lambda: gate.order == [b"/1", b"/2"], "the next is executed")
        gate.open(1, 2)
        assert second.message()[1] == b"/2"
        proxy.wait_outcomes(ok=1, cancelled=1)


def test_waiting_too_long_is_503() -> None:
    gate = Gate()
    with proxied(gate, max_in_flight=1, max_queue=1, limits={"answer_seconds": 0.6}) as (proxy, _):
        first = proxy.client().send(GET % 1)
        wait_until(lambda: proxy.proxy.in_flight == 1, "executing")
        second = proxy.client().send(GET % 2)
        heads = [first.message()[0], second.message()[0]]
        assert heads[0].startswith(b"HTTP/1.1 504 ")
        assert heads[1].split(b" ")[1] in {b"503", b"504"}  # its turn may come just before its time is up
        gate.open(1, 2)


def test_a_pipeline_that_is_turned_away_does_not_overflow_the_stack() -> None:
    gate = Gate()
    with proxied(gate, max_in_flight=1, max_queue=0) as (proxy, _):
        busy = proxy.client().send(GET % 1)
        wait_until(lambda: proxy.proxy.in_flight == 1, "executing")
        many = proxy.client().send(GET % 2 * 3000)
        for _ in range(3000):
            assert many.message()[0].startswith(b"HTTP/1.1 503 ")
        gate.open(1)
        assert busy.message()[1] == b"/1"
        proxy.wait_outcomes(ok=1, rejected=3000)


def test_integrals_waits_and_rows_agree_with_a_log_kept_outside() -> None:
    """50 clients against two places and a server that takes a random time for each."""
    chance = random.Random(7)
    times = [chance.uniform(0.001, 0.02) for _ in range(200)]
    log: list[tuple[float, float]] = []
    lock = threading.Lock()

    def script(wire: Wire) -> None:
        while True:
            head, _ = wire.message()
            time.sleep(times[int(head.split(b" ")[1][1:])])
            wire.send(answer())

    with proxied(script, max_in_flight=2, max_queue=1000) as (proxy, _):
        work = list(range(200))

        def client() -> None:
            wire = proxy.client()
            while True:
                with lock:
                    if not work:
                        return
                    i = work.pop()
                begin = time.monotonic()
                wire.send(GET % i).message()
                with lock:
                    log.append((begin, time.monotonic()))

        threads = [threading.Thread(target=client) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        proxy.wait_outcomes(ok=200)
        rows = list(proxy.meter.ring.read(0))
        assert len(rows) == 200
        in_flight = sum(end - start for _, start, end, *_ in rows)
        waited = sum(start - arrival for arrival, start, *_ in rows)
        assert proxy.value(names.IN_FLIGHT_SECONDS, "default") == pytest.approx(in_flight, abs=1e-6)
        assert proxy.value(names.QUEUE_DEPTH_SECONDS, "default") == pytest.approx(waited, abs=1e-6)
        # what the server took and what the clients saw bracket what the proxy says
        assert sum(times) <= in_flight <= sum(end - begin for begin, end in log)
        assert in_flight + waited <= sum(end - begin for begin, end in log)
        assert waited > in_flight, "12 clients on two places: most of the time is spent waiting"
        # never more than two at once, and never a free place while somebody waits
        steps = sorted(
            [(start, 1) for _, start, *_ in rows] + [(end, -1) for _, _, end, *_ in rows],
            key=lambda step: (step[0], step[1]),
        )
        level = most = 0
        for _, step in steps:
            level += step
            most = max(most, level)
        assert most == 2
        queue = next(
            s
            for s in proxy.meter.collect()
            if isinstance(s, HistogramSample) and s.metric is names.QUEUE_DURATION
        )
        assert sum(queue.counts) == 200
        assert queue.total == pytest.approx(waited, abs=1e-6)
