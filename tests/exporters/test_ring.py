"""The ring of events: what is read is what was written, and what is gone is said."""

from __future__ import annotations

import json

import pytest

from exporters.ring import CAPACITY, EventRing, events_document


def fill(ring: EventRing, count: int, begin: int = 0) -> None:
    for i in range(begin, begin + count):
        ring.append(i, i + 0.25, i + 0.5, i % 6, i, i % 3)


def test_rows_come_back_in_order_and_in_parts() -> None:
    ring = EventRing()
    fill(ring, 10)
    rows = ring.read(0, 4)
    assert list(rows)[3] == (3.0, 3.25, 3.5, 3, 3, 0)
    assert (rows.since, rows.next, rows.lost, rows.more) == (0, 4, 0, True)
    rows = ring.read(rows.next, 100)
    assert [row[0] for row in rows] == [4, 5, 6, 7, 8, 9]
    assert (rows.next, rows.lost, rows.more) == (10, 0, False)
    rows = ring.read(10)
    assert (list(rows), rows.next, rows.lost) == ([], 10, 0)


def test_it_holds_at_least_a_hundred_thousand_rows_in_at_most_eight_megabytes() -> None:
    assert CAPACITY >= 100_000
    assert len(EventRing()._rows) <= 8_000_000


def test_what_was_overwritten_is_counted() -> None:
    ring = EventRing()
    fill(ring, CAPACITY + 500)
    rows = ring.read(100, 1000)
    assert rows.lost == 400
    assert rows.since == 500
    assert [row[0] for row in rows] == list(range(500, 1500))
    last = ring.read(CAPACITY + 490)
    assert [row[0] for row in last] == list(range(CAPACITY + 490, CAPACITY + 500))


def test_a_copy_across_the_seam_is_in_order() -> None:
    ring = EventRing()
    fill(ring, CAPACITY + 10)
    rows = ring.read(CAPACITY - 10, 20)
    assert [row[0] for row in rows] == list(range(CAPACITY - 10, CAPACITY + 10))


def test_a_cursor_of_an_earlier_life_starts_from_the_oldest() -> None:
    ring, other = EventRing(), EventRing()
    fill(ring, 3)
    rows = ring.read(5000)
    assert (rows.since, rows.next, rows.lost) == (0, 3, 0)
    assert ring.boot != other.boot


def test_rows_overwritten_while_they_are_copied_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = EventRing()
    fill(ring, CAPACITY)
    copy = EventRing._copy
    lapped = []

    def slow(self: EventRing, first: int, last: int) -> bytes:
        packed = copy(self, first, last)
        if not lapped:
            lapped.append(True)
            fill(self, 50, begin=CAPACITY)
        return packed

    monkeypatch.setattr(EventRing, "_copy", slow)
    rows = ring.read(0, 10)
    assert rows.lost == 50
    assert [row[0] for row in rows] == list(range(50, 60))


def test_the_document() -> None:
    ring = EventRing()
    for i in range(1000):
        ring.append(i / 1000, i / 1000 + 0.0001, i / 1000 + 0.0123456, 0, 7, 1)
    document = json.loads(
        events_document(
            ring.read(0),
            boot=ring.boot,
            base=1.7e9,
            zero=0.0,
            now=3.5,
            in_flight=2,
            models=["default", "other"],
        )
    )
    assert document["format"] == 1
    assert document["base"] == 1.7e9
    assert (document["since"], document["next"], document["lost"], document["more"]) == (0, 1000, 0, False)
    assert document["now"] == 3_500_000
    assert document["in_flight"] == 2
    assert document["arrival"] == [i * 1000 for i in range(1000)]
    assert document["start"][5] == 5100
    assert document["end"][5] == 17346
    assert document["outcomes"][document["outcome"][5]] == "ok"
    assert document["models"][document["model"][5]] == "other"
    assert document["tokens"] == [7] * 1000


def test_the_document_without_rows() -> None:
    ring = EventRing()
    document = json.loads(
        events_document(
            ring.read(0), boot=ring.boot, base=0.0, zero=0.0, now=0.0, in_flight=0, models=["default"]
        )
    )
    assert document["arrival"] == document["end"] == []
    assert document["next"] == 0
