"""Production windows and the demand in them.

A live window is a row; a past hour is one packed row, a tenth of the size. Demand is added to its minutes as
windows come, so that a month of it is read in milliseconds, whatever the windows themselves weigh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from advisor.domain import Floats, Window
from advisor.store import codec
from advisor.store.database import Database
from advisor.store.models import DemandHourRow, WindowHourRow, WindowRow
from advisor.windows import in_sequence

_HOUR = 3600
_MINUTES = 60
_LONGEST = 2 * _HOUR  # no window is longer; bounds how far back an overlap is looked for
_TOUCHING = 1.0  # s between two windows that follow one another
_ENOUGH_SECONDS = 20.0  # of a minute must be observed for its mean to be told


class Windows:
    """Windows of the whole target, summed over its replicas."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._insert: Any = sqlite.insert if database.is_sqlite else postgresql.insert

    def append(self, windows: Mapping[str, Window]) -> None:
        """One new window for each target, in one transaction; a window that is there already stays."""
        packed = {target: codec.pack_windows([window]) for target, window in windows.items()}
        with self._db.write() as connection:
            for target, window in windows.items():
                added = connection.execute(
                    self._insert(WindowRow)
                    .values(
                        target=target,
                        started=window.start,
                        ended=window.end,
                        window=packed[target],
                    )
                    .on_conflict_do_nothing()
                )
                if added.rowcount:
                    self._add_demand(connection, target, window)

    def between(self, target: str, start: float, end: float) -> tuple[Window, ...]:
        """Windows that overlap [start, end), in order of time; a gap is where there is none."""
        with self._db.read() as connection:
            packed = connection.scalars(
                select(WindowHourRow.windows)
                .where(
                    WindowHourRow.target == target,
                    WindowHourRow.hour > start - _HOUR - _LONGEST,
                    WindowHourRow.hour < end,
                )
                .order_by(WindowHourRow.hour)
            ).all()
            live = connection.scalars(
                select(WindowRow.window)
                .where(WindowRow.target == target, WindowRow.ended > start, WindowRow.started < end)
                .order_by(WindowRow.started)
            ).all()
        windows = (window for blob in (*packed, *live) for window in codec.unpack_windows(blob))
        return tuple(window for window in windows if window.end > start and window.start < end)

    def newest(self, target: str, since: float = 0.0) -> Window | None:
        """The last one stored, of those that begin at `since` (Unix seconds) or later."""
        with self._db.read() as connection:
            blob = connection.scalar(
                select(WindowRow.window)
                .where(WindowRow.target == target, WindowRow.started >= since)
                .order_by(WindowRow.started.desc())
                .limit(1)
            )
            if blob is None:
                blob = connection.scalar(
                    select(WindowHourRow.windows)
                    .where(WindowHourRow.target == target, WindowHourRow.hour > since - _HOUR)
                    .order_by(WindowHourRow.hour.desc())
                    .limit(1)
                )
        window = codec.unpack_windows(blob)[-1] if blob else None
        return window if window is not None and window.start >= since else None

    def demand(self, target: str, start: float, end: float) -> tuple[Floats, Floats]:
        """Mean demand of each observed minute that begins in [start, end): (Unix seconds, req/s).

        A minute of which less than 20 s were observed is left out: a gap is no zero.
        """
        with self._db.read() as connection:
            rows = connection.execute(
                select(DemandHourRow.hour, DemandHourRow.requests, DemandHourRow.covered)
                .where(
                    DemandHourRow.target == target,
                    DemandHourRow.hour > start - _HOUR,
                    DemandHourRow.hour < end,
                )
                .order_by(DemandHourRow.hour)
            ).all()
        if not rows:
            return np.zeros(0), np.zeros(0)
        hours = np.array([row.hour for row in rows], dtype=np.float64)
        times = (hours[:, None] + np.arange(_MINUTES) * 60.0).ravel()
        requests = np.frombuffer(b"".join(row.requests for row in rows), "<f8")
        covered = np.frombuffer(b"".join(row.covered for row in rows), "<f8")
        keep = (covered >= _ENOUGH_SECONDS) & (times >= start) & (times < end)
        return times[keep], requests[keep] / covered[keep]

    def pack(self, *, now: float) -> int:
        """Pack the live windows of hours that have ended; returns how many windows."""
        until = (now // _HOUR) * _HOUR
        with self._db.read() as connection:
            targets = connection.scalars(
                select(WindowRow.target).where(WindowRow.started < until).distinct()
            ).all()
        packed = 0
        for target in targets:
            # A transaction each: a run that is being recorded must not wait for all of them.
            with self._db.write() as connection:
                packed += self._pack_target(connection, target, until)
        return packed

    def thin(self, *, before: float, seconds: int, most: int = 500) -> int:
        """Join the windows of hours before (Unix s) into windows of `seconds`; returns how many hours.

        Sums and means stay. A gap, and a change of the number of replicas, stay where they were. The oldest
        come first, and no more than `most`: a month never thinned must not keep a thread for minutes.
        """
        wanted = (WindowHourRow.hour < before - _HOUR) & (WindowHourRow.count > _HOUR // seconds)
        with self._db.read() as connection:
            keys = connection.execute(
                select(WindowHourRow.target, WindowHourRow.hour)
                .where(wanted)
                .order_by(WindowHourRow.hour)
                .limit(most)
            ).all()
        for target, hour in keys:
            held = (WindowHourRow.target == target) & (WindowHourRow.hour == hour)
            with self._db.write() as connection:
                blob = connection.scalar(select(WindowHourRow.windows).where(held))
                if blob is None:
                    continue
                windows = _joined(codec.unpack_windows(blob), seconds)
                # No more than there is room for: an hour with more changes than that is not looked at again.
                values = {
                    "count": min(len(windows), _HOUR // seconds),
                    "windows": codec.pack_windows(windows),
                }
                connection.execute(update(WindowHourRow).where(held).values(**values))
        return len(keys)

    def prune(self, *, before: float) -> None:
        """Forget windows and demand of hours that ended before (Unix seconds)."""
        with self._db.write() as connection:
            connection.execute(delete(WindowRow).where(WindowRow.ended < before))
            connection.execute(delete(WindowHourRow).where(WindowHourRow.hour < before - _HOUR))
            connection.execute(delete(DemandHourRow).where(DemandHourRow.hour < before - _HOUR))

    def count(self, target: str) -> int:
        """How many windows are kept."""
        with self._db.read() as connection:
            live = connection.scalar(select(func.count()).where(WindowRow.target == target))
            packed = connection.scalar(
                select(func.coalesce(func.sum(WindowHourRow.count), 0)).where(WindowHourRow.target == target)
            )
        return int(live or 0) + int(packed or 0)

    def _pack_target(self, connection: Connection, target: str, until: float) -> int:
        rows = connection.execute(
            select(WindowRow.started, WindowRow.window)
            .where(WindowRow.target == target, WindowRow.started < until)
            .order_by(WindowRow.started)
        ).all()
        hours: dict[int, list[Window]] = {}
        for row in rows:
            hours.setdefault(int(row.started // _HOUR) * _HOUR, []).extend(codec.unpack_windows(row.window))
        for hour, windows in hours.items():
            held = (WindowHourRow.target == target) & (WindowHourRow.hour == hour)
            old = connection.scalar(select(WindowHourRow.windows).where(held))
            if old is not None:  # a late window of an hour that was packed before
                windows = sorted([*codec.unpack_windows(old), *windows], key=lambda w: w.start)  # noqa: PLW2901
                connection.execute(delete(WindowHourRow).where(held))
            connection.execute(
                insert(WindowHourRow).values(
                    target=target, hour=hour, count=len(windows), windows=codec.pack_windows(windows)
                )
            )
        connection.execute(delete(WindowRow).where(WindowRow.target == target, WindowRow.started < until))
        return len(rows)

    def _add_demand(self, connection: Connection, target: str, window: Window) -> None:
        total = sum(window.requests.values())
        for hour in range(int(window.start // _HOUR) * _HOUR, int(np.ceil(window.end)), _HOUR):
            edges = hour + 60.0 * np.arange(_MINUTES + 1)
            covered = np.diff(np.clip(edges, window.start, window.end))
            held = (DemandHourRow.target == target) & (DemandHourRow.hour == hour)
            row = connection.execute(
                select(DemandHourRow.requests, DemandHourRow.covered).where(held)
            ).one_or_none()
            requests = covered * (total / window.seconds)
            if row is not None:
                requests += np.frombuffer(row.requests, "<f8")
                covered += np.frombuffer(row.covered, "<f8")
            values = {
                "requests": requests.astype("<f8").tobytes(),
                "covered": covered.astype("<f8").tobytes(),
            }
            connection.execute(
                self._insert(DemandHourRow)
                .values(target=target, hour=hour, **values)
                .on_conflict_do_update(index_elements=[DemandHourRow.target, DemandHourRow.hour], set_=values)
            )


def _joined(windows: Sequence[Window], seconds: int) -> list[Window]:
    """Windows that follow one another and begin in the same `seconds`, as one."""
    groups: list[list[Window]] = []
    for window in sorted(windows, key=lambda w: w.start):
        last = groups[-1][-1] if groups else None
        same = last is not None and (
            window.start - last.end <= _TOUCHING
            and window.replicas == last.replicas
            and window.start // seconds == groups[-1][0].start // seconds
        )
        if same:
            groups[-1].append(window)
        else:
            groups.append([window])
    return [joined for group in groups if (joined := in_sequence(group)) is not None]
