"""A demand curve from a CSV file: rates over time, or the times of single requests. Pure."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import math
from collections.abc import Sequence

from advisor.loadtest.plan.curve import Curve

PER_BIN = 50  # requests on average, where only their times are known
SHORTEST_BIN = 1.0  # s


def read_curve(text: str) -> Curve:
    """Points (s since the first one, req/s) from rows `time,rps`, or from one time a row for each request.

    Times are in seconds, such as Unix time, or ISO 8601; a first row that is no number is a heading.

    Raises:
        ValueError: names the line and what is wrong with it.
    """
    rows = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(text.splitlines()), 1)
        if any(cell.strip() for cell in row)
    ]
    if rows and _is_heading(rows[0][1]):
        rows = rows[1:]
    if len(rows) < 2:
        raise ValueError("a demand curve needs at least two rows: time,rps")
    columns = {len(row) for _, row in rows}
    if columns not in ({1}, {2}):
        number = next(number for number, row in rows if len(row) != len(rows[0][1]) or len(row) > 2)
        raise ValueError(f"line {number}: expected time,rps in every row, or one time in every row")
    times = [_time(row[0], number) for number, row in rows]
    if columns == {1}:
        return _counted(sorted(times))
    rates = [_rate(row[1], number) for number, row in rows]
    for (before, after), (number, _) in zip(itertools.pairwise(times), rows[1:], strict=True):
        if after <= before:
            raise ValueError(f"line {number}: the times must ascend")
    return tuple((time - times[0], value) for time, value in zip(times, rates, strict=True))


def _is_heading(row: Sequence[str]) -> bool:
    try:
        _time(row[0], 1)
    except ValueError:
        return True
    return False


def _time(text: str, line: int) -> float:
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"line {line}: '{text}' is not a time: write seconds, or 2026-03-01T14:05:00Z"
            ) from None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    if not math.isfinite(seconds):
        raise ValueError(f"line {line}: '{text}' is not a time")
    return seconds


def _rate(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"line {line}: '{text}' is not a rate: write req/s, 0 or more")
    return value


def _counted(times: Sequence[float]) -> Curve:
    """Rates from the times of requests: each bin's count, at its middle."""
    span = times[-1] - times[0]
    if span <= 0:
        raise ValueError("all requests have the same time")
    bins = max(math.floor(span / max(span * PER_BIN / len(times), SHORTEST_BIN)), 1)
    width = span / bins
    counts = [0] * bins
    for time in times:
        counts[min(int((time - times[0]) / width), bins - 1)] += 1
    middles = tuple(((i + 0.5) * width, count / width) for i, count in enumerate(counts))
    return ((0.0, middles[0][1]), *middles, (span, middles[-1][1]))
