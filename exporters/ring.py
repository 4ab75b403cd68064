"""The last requests, one row each, in a ring of fixed size, and what `GET /events?since=CURSOR` answers.

One row is written when a request ends, so rows are ordered by `end`. The document is JSON:

    {"format": 1,
     "boot": "6f0c…",        # changes when the exporter restarts: a cursor of another boot means nothing
     "base": 1732156790.25,  # Unix seconds; every time below is microseconds since base
     "since": 1200, "next": 1203,  # rows [since, next); ask next with since=next
     "lost": 0,              # rows after the asked cursor that the ring had already overwritten
     "more": false,          # true: ask again at once, the answer was cut at `limit` rows
     "in_flight": 2,         # requests that have arrived and not ended (they have no row yet)
     "now": 1234567,         # when this was written
     "outcomes": ["ok", "client_error", …],
     "models": ["default", …],
     "arrival": […], "start": […], "end": […],   # start: handed to the model server, queue wait over
     "outcome": […],         # index into `outcomes`
     "tokens": […],          # streamed tokens (or parts of the stream); 0 when not streamed
     "model": […]}           # index into `models`

`start` equals `end` for a request that never reached the model server. A cursor beyond the end (the exporter
restarted) answers from the oldest row, with the new `boot`.
"""

from __future__ import annotations

import json
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporters.names import OUTCOMES

CAPACITY = 1 << 17  # rows; × 32 bytes = 4 MiB
MOST_ROWS = 20_000  # in one answer
_ROW = struct.Struct("<dddiBBxx")
_BATCH = 256  # rows formatted between two chances of the interpreter to serve a request


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows [since, next) as packed bytes; `lost` of those asked for are gone."""

    since: int
    next: int
    lost: int
    more: bool
    packed: bytes

    def __iter__(self) -> Iterator[tuple[float, float, float, int, int, int]]:
        """(arrival, start, end, tokens, outcome, model) of each row; times in s of the writer's clock."""
        return _ROW.iter_unpack(self.packed)


class EventRing:
    """Written by one thread, read by others: a row and a slice are each one step under the lock."""

    __slots__ = ("_pack", "_rows", "boot", "written")

    def __init__(self) -> None:
        self._rows = bytearray(CAPACITY * _ROW.size)
        self._pack = _ROW.pack_into
        self.written = 0
        self.boot = secrets.token_hex(8)

    def append(self, arrival: float, start: float, end: float, outcome: int, tokens: int, model: int) -> None:
        """Write one row: times in seconds of any one clock, `outcome` and `model` as indices."""
        written = self.written
        self._pack(self._rows, (written & (CAPACITY - 1)) * 32, arrival, start, end, tokens, outcome, model)
        self.written = written + 1

    def read(self, since: int, limit: int = MOST_ROWS) -> Rows:
        """At most `limit` rows from cursor `since` on."""
        while True:
            written = self.written
            oldest = max(0, written - CAPACITY)
            if since > written:
                since = oldest
            first = max(since, oldest)
            last = min(written, first + limit)
            packed = self._copy(first, last)
            # the writer may have lapped the copy: then the first rows are newer than their cursor says
            if max(0, self.written - CAPACITY) <= first:
                return Rows(first, last, first - since, last < written, packed)

    def _copy(self, first: int, last: int) -> bytes:
        size = _ROW.size
        low, count = first & (CAPACITY - 1), last - first
        head = bytes(self._rows[low * size : (low + count) * size])
        return head + bytes(self._rows[: count * size - len(head)])


def events_document(
    rows: Rows,
    *,
    boot: str,
    base: float,
    zero: float,
    now: float,
    in_flight: int,
    models: Sequence[str],
) -> bytes:
    """The JSON document described above.

    `base` is the Unix time (s) at which the writer's clock was `zero`; `now` (s) is on that clock.
    """
    columns: tuple[list[str], ...] = ([], [], [], [], [], [])
    batch: list[tuple[float, float, float, int, int, int]] = []

    def flush() -> None:
        arrival, start, end, tokens, outcome, model = zip(*batch, strict=True)
        for column, times in zip(columns[:3], (arrival, start, end), strict=True):
            column.append(",".join([str(round((t - zero) * 1e6)) for t in times]))
        for column, values in zip(columns[3:], (tokens, outcome, model), strict=True):
            column.append(",".join(map(str, values)))
        batch.clear()

    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            flush()
    if batch:
        flush()
    head = {
        "format": 1,
        "boot": boot,
        "base": base,
        "since": rows.since,
        "next": rows.next,
        "lost": rows.lost,
        "more": rows.more,
        "in_flight": in_flight,
        "now": round((now - zero) * 1e6),
        "outcomes": OUTCOMES,
        "models": list(models),
    }
    named = zip(("arrival", "start", "end", "tokens", "outcome", "model"), columns, strict=True)
    body = ",".join(f'"{name}":[{",".join(parts)}]' for name, parts in named)
    return f"{json.dumps(head)[:-1]},{body}}}\n".encode()
