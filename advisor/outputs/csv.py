"""A run as the CSV files that Locust writes: `_stats`, `_stats_history`, `_failures` and `_exceptions`. Pure.

The columns and units are Locust's (2.47; times in ms), so that the same notebooks and dashboards read them.
The numbers are better founded, and differ in seven ways:

- percentiles are of the requests themselves, not of buckets rounded to two digits;
- a row of the history holds that second alone: its percentiles and rates are neither cumulative nor averaged
  over ten seconds (the columns that Locust calls "Total" stay cumulative);
- response times count from when the request was meant to start, so that a stall is not hidden, and are those
  of the requests that ended as expected: a quick error does not make the server look fast;
- every kind of request has its rows in the history, as with `--csv-full-history`;
- "User Count" is the number of requests in flight at the end of the second: an open load has no users;
- content sizes are not kept: "N/A", which is what Locust writes where it has no percentile;
- requests that the generator itself cut count as requests, but are no failures of the target. Exceptions are
  those of a locustfile's own code: an open load has none, and `_exceptions.csv` only its header.
"""

from __future__ import annotations

import csv
import heapq
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from advisor.domain import Floats, Outcome, RequestLog, Run

NOT_KNOWN = "N/A"
_QUANTILES = (0.50, 0.66, 0.75, 0.80, 0.90, 0.95, 0.98, 0.99, 0.999, 0.9999, 1.0)
_PERCENTS = tuple(f"{100 * q:.6g}%" for q in _QUANTILES)
STATS = (
    "Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
    "Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s", *_PERCENTS,
)  # fmt: skip
HISTORY = (
    "Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s", *_PERCENTS, "Total Request Count",
    "Total Failure Count", "Total Median Response Time", "Total Average Response Time",
    "Total Min Response Time", "Total Max Response Time", "Total Average Content Size",
)  # fmt: skip
FAILURES = ("Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen")
EXCEPTIONS = ("Count", "Message", "Traceback", "Nodes")
_ERRORS = {
    Outcome.CLIENT_ERROR: "unexpected status",
    Outcome.SERVER_ERROR: "server error",
    Outcome.REJECTED: "rejected (429 or 503)",
    Outcome.TIMEOUT: "timeout",
    Outcome.CONNECTION: "no answer",
    Outcome.ACCEPTED: "accepted, but should have been refused",
}
Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class _Entry:
    """The requests of one kind, or of all."""

    type: str
    name: str
    log: RequestLog


def csv_files(run: Run) -> Mapping[str, str]:
    """The text of each file by the end of its name, such as `_stats.csv`. The run must have its stages."""
    log = RequestLog.concat(stage.log for stage in run.stages)
    epoch = run.metadata.get("epoch")  # unlike the run's own begin, after the making of payloads
    begin = epoch if isinstance(epoch, float) else run.started_at
    kinds = sorted(_kinds(run, log), key=lambda entry: (entry.name, entry.type))  # as Locust sorts them
    entries = [*kinds, _Entry("", "Aggregated", log)]
    return {
        "_stats.csv": _text(STATS, _stats(entries)),
        "_stats_history.csv": _text(HISTORY, _history(entries, begin)),
        "_failures.csv": _text(FAILURES, _failures(entries[:-1], begin)),
        "_exceptions.csv": _text(EXCEPTIONS, ()),
    }


def _text(header: Row, rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _kinds(run: Run, log: RequestLog) -> Iterator[_Entry]:
    known: Any = run.metadata.get("kinds")
    names = [str(name) for name in known] if isinstance(known, list | tuple) else []
    for kind in np.unique(log.kind).tolist():
        name = names[kind] if kind < len(names) else f"request {kind + 1}"
        found = re.fullmatch(r"([A-Z]+) (.+)", name)  # of a locustfile, names are its own
        method, path = found.groups() if found else ("", name)
        yield _Entry(method, path, log.select(log.kind == kind))


# --------------------------------------------------------------------------------------------- whole run


def _stats(entries: Sequence[_Entry]) -> Iterator[Row]:
    log = entries[-1].log
    seconds = float(log.end.max() - log.intended.min()) if len(log) else 0.0
    for entry in entries:
        latency = entry.log.latency[entry.log.ok]
        failed = int(np.count_nonzero(entry.log.failed))
        rates = [number / seconds if seconds > 0 else NOT_KNOWN for number in (len(entry.log), failed)]
        median, *rest = _summary(latency)
        yield (
            entry.type, entry.name, len(entry.log), failed, median, *rest, NOT_KNOWN, *rates,
            *_percentiles(latency),
        )  # fmt: skip


def _summary(latency: Floats) -> list[object]:
    """Median, average, least and most, in ms."""
    if not latency.size:
        return [NOT_KNOWN] * 4
    return [_ms(value) for value in (np.median(latency), latency.mean(), latency.min(), latency.max())]


def _percentiles(latency: Floats) -> list[object]:
    if not latency.size:
        return [NOT_KNOWN] * len(_QUANTILES)
    return [_ms(value) for value in np.quantile(latency, _QUANTILES)]


def _ms(seconds: float) -> float:
    return round(1000 * float(seconds), 6)


# ----------------------------------------------------------------------------------------------- seconds


@dataclass(slots=True)
class _Total:
    """What the columns "Total" need. The median of a growing set is kept exactly by two heaps."""

    count: int = 0
    failed: int = 0
    sum: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    below: list[float] = field(default_factory=list)  # the lower half, negated: its greatest comes first
    above: list[float] = field(default_factory=list)  # as many, or one less

    def add(self, log: RequestLog) -> None:
        """Requests that ended."""
        self.count += len(log)
        self.failed += int(np.count_nonzero(log.failed))
        for value in log.latency[log.ok].tolist():
            self.sum += value
            self.least, self.most = min(self.least, value), max(self.most, value)
            if len(self.below) == len(self.above):
                heapq.heappush(self.below, -heapq.heappushpop(self.above, value))
            else:
                heapq.heappush(self.above, -heapq.heappushpop(self.below, -value))

    def figures(self) -> list[object]:
        size = len(self.below) + len(self.above)
        if not size:
            return [NOT_KNOWN] * 4
        median = -self.below[0] if size % 2 else (self.above[0] - self.below[0]) / 2
        return [_ms(value) for value in (median, self.sum / size, self.least, self.most)]


def _history(entries: Sequence[_Entry], started_at: float) -> Iterator[Row]:
    log = entries[-1].log
    if not len(log):
        return
    sent, ended = np.sort(log.sent), np.sort(log.end)
    parts = [_by_second(entry.log) for entry in entries]
    totals = [_Total() for _ in entries]
    for second in range(math.floor(log.intended.min()), math.floor(log.end.max()) + 1):
        moment = second + 1.0
        in_flight = int(np.searchsorted(sent, moment) - np.searchsorted(ended, moment))
        for entry, part, total in zip(entries, parts, totals, strict=True):
            now = part.get(second) or RequestLog.empty()
            total.add(now)
            yield (
                int(started_at + moment), in_flight, entry.type, entry.name, len(now),
                int(np.count_nonzero(now.failed)), *_percentiles(now.latency[now.ok]), total.count,
                total.failed, *total.figures(), NOT_KNOWN,
            )  # fmt: skip


def _by_second(log: RequestLog) -> Mapping[int, RequestLog]:
    """The requests by the second of the run in which they ended."""
    order = np.argsort(log.end, kind="stable").astype(np.int64)
    seconds, starts = np.unique(np.floor(log.end[order]), return_index=True)
    parts = np.split(order, starts[1:])
    return {int(second): log.select(part) for second, part in zip(seconds, parts, strict=True)}


# ---------------------------------------------------------------------------------------------- failures


def _failures(entries: Iterable[_Entry], started_at: float) -> Iterator[Row]:
    for entry in entries:
        for outcome, words in _ERRORS.items():
            ends = entry.log.end[entry.log.outcome == outcome]
            if ends.size:
                seen = [_moment(started_at + float(end)) for end in (ends.min(), ends.max())]
                yield (entry.type, entry.name, words, int(ends.size), *seen)


def _moment(unix: float) -> str:
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
