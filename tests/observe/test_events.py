"""Reading a sidecar's ring of events: cursors, gaps, restarts."""

from __future__ import annotations

import asyncio
import json

import httpx
import numpy as np
import pytest

from advisor.domain import Outcome
from advisor.observe import EventReader, Unreadable
from advisor.observe.events import decode
from exporters.ring import EventRing, Rows, events_document

BASE = 1_700_000_000.0


def document(rows: Rows, boot: str, in_flight=0) -> bytes:
    return events_document(
        rows, boot=boot, base=BASE, zero=0.0, now=1.0, in_flight=in_flight, models=["a", "b"]
    )


class Sidecar:
    """The real ring behind a transport."""

    def __init__(self, limit=3) -> None:
        self.ring = EventRing()
        self.limit = limit
        self.asked: list[int] = []

    def fill(self, count: int, start=0.0, model=0) -> None:
        for i in range(count):
            self.ring.append(start + i, start + i + 0.1, start + i + 0.5, i % 2, 0, model)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        since = int(request.url.params["since"])
        self.asked.append(since)
        return httpx.Response(200, content=document(self.ring.read(since, self.limit), self.ring.boot, 2))


def read(sidecar, *steps, **more):
    """One reading after each step."""

    async def go():
        client = httpx.AsyncClient(transport=httpx.MockTransport(sidecar))
        reader = EventReader("http://sidecar/events", client, **more)
        found = []
        for step in steps:
            step()
            found.append(await reader.read())
        return found

    return asyncio.run(go())


def test_a_reading_takes_all_that_is_new_and_no_row_twice():
    sidecar = Sidecar()
    first, second, third = read(
        sidecar, lambda: sidecar.fill(7), lambda: sidecar.fill(2, start=100.0), lambda: None
    )
    assert [len(events.log) for events in (first, second, third)] == [7, 2, 0]
    assert sidecar.asked == [0, 3, 6, 7, 9]
    assert not first.complete  # a history begins
    assert second.complete
    assert second.lost == 0
    assert second.in_flight == 2
    assert second.log.intended.tolist() == pytest.approx([BASE + 100, BASE + 101])
    assert (second.log.sent - second.log.intended).tolist() == pytest.approx([0.1, 0.1], abs=1e-5)
    assert first.log.outcome.tolist() == [Outcome.OK, Outcome.CLIENT_ERROR] * 3 + [Outcome.OK]


def test_a_restart_breaks_the_history():
    sidecar = Sidecar()

    def restart():
        sidecar.ring = EventRing()
        sidecar.fill(2)

    _, after = read(sidecar, lambda: sidecar.fill(5), restart)
    assert not after.complete
    assert len(after.log) == 2


def test_rows_that_the_ring_has_overwritten_are_told():
    ring = EventRing()
    lapped = Rows(10, 11, 4, False, ring.read(0).packed)

    def handler(request):
        rows = lapped if int(request.url.params["since"]) else Rows(0, 6, 0, False, b"")
        return httpx.Response(200, content=document(rows, "boot"))

    _, after = read(handler, lambda: None, lambda: None)
    assert after.lost == 4
    assert not after.complete


def test_one_model_of_several():
    sidecar = Sidecar(limit=100)
    sidecar.fill(3)
    sidecar.fill(2, start=50.0, model=1)
    (events,) = read(sidecar, lambda: None, model="b")
    assert len(events.log) == 2
    (nothing,) = read(sidecar, lambda: None, model="c")
    assert len(nothing.log) == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(404), "it answers with status 404"),
        (httpx.Response(200, text="<html>"), "it does not answer with JSON"),
        (httpx.Response(200, json={"format": 2}), "it is not an events document of format 1"),
    ],
)
def test_what_cannot_be_read_is_told(answer, reason):
    (found,) = read(lambda _: answer, lambda: None)
    assert isinstance(found, Unreadable)
    assert reason in found.reason


def test_rows_come_in_the_order_of_arrival():
    ring = EventRing()
    ring.append(2.0, 2.0, 2.1, 0, 0, 0)
    ring.append(1.0, 1.0, 3.0, 3, 0, 0)
    log = decode(json.loads(document(ring.read(0), "boot")))
    assert np.diff(log.intended).min() > 0
    assert log.outcome.tolist() == [Outcome.REJECTED, Outcome.OK]
