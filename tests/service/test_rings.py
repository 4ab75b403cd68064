"""Spells from the real ring of a sidecar: enough of them, no request twice, gaps told."""

from __future__ import annotations

import asyncio

import httpx

from advisor.service.rings import ENOUGH, PATIENCE, Rings
from exporters.ring import EventRing, events_document

URL = "http://10.0.0.1:9109/metrics"


class Sidecar:
    def __init__(self) -> None:
        self.ring = EventRing()
        self.clock = 1000.0

    def serve(self, count: int) -> None:
        for _ in range(count):
            self.clock += 0.01
            self.ring.append(self.clock - 0.005, self.clock - 0.005, self.clock, 0, 0, 0)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url.copy_with(query=None)) == "http://10.0.0.1:9109/events"
        rows = self.ring.read(int(request.url.params["since"]))
        return httpx.Response(
            200,
            content=events_document(
                rows, boot=self.ring.boot, base=0.0, zero=0.0, now=self.clock, in_flight=0, models=["m"]
            ),
        )


def spells(sidecar, *steps, stored=None):
    """Those that each reading completes; a step of None forgets before its reading."""

    async def known(_source):
        return stored

    async def go():
        client = httpx.AsyncClient(transport=httpx.MockTransport(sidecar))
        rings = Rings(client, stored=known)
        found = []
        for step in steps:
            if step is None:
                rings.forget()
            else:
                step()
            found.append(await rings([URL]))
        return found

    return asyncio.run(go())


def test_requests_are_kept_until_they_are_enough_and_spells_follow_one_another():
    sidecar = Sidecar()
    some = lambda: sidecar.serve(ENOUGH // 2)  # noqa: E731
    none, first, second, third = spells(sidecar, some, some, lambda: sidecar.serve(ENOUGH), some)
    assert (none, third) == ([], [])
    assert [len(spell.log) for spell in (*first, *second)] == [ENOUGH, ENOUGH]
    assert first[0].source == URL
    assert second[0].start == first[0].end == first[0].log.end.max()


def test_little_traffic_is_kept_after_a_while():
    sidecar = Sidecar()
    found = spells(sidecar, *([lambda: sidecar.serve(1)] * PATIENCE))
    assert [len(new) for new in found] == [0] * (PATIENCE - 1) + [1]
    assert len(found[-1][0].log) == PATIENCE
    assert spells(Sidecar(), *([lambda: None] * PATIENCE))[-1] == []


def test_after_a_restart_of_the_advisor_no_request_is_stored_twice():
    sidecar = Sidecar()
    sidecar.serve(ENOUGH)
    stored = sidecar.clock
    (again,) = spells(sidecar, lambda: sidecar.serve(ENOUGH), stored=stored)
    assert len(again[0].log) == ENOUGH
    assert again[0].start == stored  # the ring reaches back to it: no gap
    sidecar = Sidecar()
    sidecar.clock = stored + 50
    (later,) = spells(sidecar, lambda: sidecar.serve(ENOUGH), stored=stored)
    assert later[0].start > stored


def test_a_restart_of_the_sidecar_ends_a_spell():
    sidecar = Sidecar()

    def restart():
        sidecar.ring = EventRing()
        sidecar.clock += 60
        sidecar.serve(ENOUGH)

    _, (before, after) = spells(sidecar, lambda: sidecar.serve(10), restart)
    assert len(before.log) == 10
    assert after.start > before.end
    assert len(after.log) == ENOUGH


def test_a_load_test_is_no_production():
    sidecar = Sidecar()
    sidecar.serve(20)
    _, forgotten, after = spells(sidecar, lambda: sidecar.serve(30), None, lambda: sidecar.serve(ENOUGH))
    assert forgotten == []
    assert len(after[0].log) == ENOUGH


def test_a_sidecar_without_events_gives_none():
    assert spells(lambda _: httpx.Response(404), lambda: None) == [[]]
