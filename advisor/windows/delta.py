"""Two readings of one sidecar → the window between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from advisor.domain import Histogram, Snapshot, Window
from exporters import names

_Row = tuple[Mapping[str, str], float]
_Key = tuple[tuple[str, str], ...]
# What is the model's own comes first; the whole node is not the model.
_SCOPES = (names.SCOPE_CONTAINER, names.SCOPE_PROCESS)
_GPU_SCOPES = (names.SCOPE_PROCESS, names.SCOPE_CONTAINER, names.SCOPE_NODE)


def between(before: Snapshot, after: Snapshot, model: str | None = None) -> Window | None:
    """The interval between two readings of one sidecar; `model` None sums all models.

    Counters that fell were reset: their new value is the increase (as in PromQL), and means over the
    interval are not known. None when time did not advance.
    """
    seconds = after.at - before.at
    if seconds <= 0:
        return None
    change = _Change(before, after, seconds, model)
    duration = names.REQUEST_DURATION.name
    by_outcome = change.increases(duration + "_count", "outcome")
    return Window(
        start=before.at,
        end=after.at,
        requests={} if by_outcome is None else by_outcome,
        latency=change.histogram(duration, lambda labels: labels.get("outcome", "ok") == "ok"),
        queue=change.histogram(names.QUEUE_DURATION.name),
        in_flight=change.mean_rate(names.IN_FLIGHT_SECONDS.name),
        queue_depth=change.mean_rate(names.QUEUE_DEPTH_SECONDS.name),
        cpu_cores=change.mean_rate(names.CPU_SECONDS.name, _SCOPES),
        cpu_limit_cores=change.gauge(names.CPU_LIMIT_CORES.name, _SCOPES),
        cpu_throttled_seconds=change.increase(names.CPU_THROTTLED_SECONDS.name, _SCOPES),
        memory_bytes=change.gauge(names.MEMORY_BYTES.name, _SCOPES),
        memory_limit_bytes=change.gauge(names.MEMORY_LIMIT_BYTES.name, _SCOPES),
        gpu_utilization=change.mean_gauge(names.GPU_UTILIZATION.name),
        gpu_memory_bytes=change.gauge(names.GPU_MEMORY_BYTES.name, _GPU_SCOPES),
        gpu_memory_limit_bytes=change.gauge(names.GPU_MEMORY_LIMIT_BYTES.name, _GPU_SCOPES),
        kv_cache=change.mean_gauge(names.KV_CACHE_USAGE.name),
        source=after.source,
    )


class _Change:
    """How the series of one model changed between two readings."""

    def __init__(self, before: Snapshot, after: Snapshot, seconds: float, model: str | None) -> None:
        self._before = before
        self._after = after
        self._seconds = seconds
        self._model = model

    def increases(self, name: str, label: str) -> dict[str, float] | None:
        """Increase of a counter by the values of `label`; None when either reading lacks the metric."""
        old, new = self._rows(self._before, name), self._rows(self._after, name)
        if not old or not new:
            return None
        found: dict[str, float] = defaultdict(float)
        before = {_key(labels): value for labels, value in old}
        for labels, value in new:
            found[labels.get(label, "")] += _increase(before.get(_key(labels), 0.0), value)
        return dict(found)

    def increase(self, name: str, scopes: tuple[str, ...] = ()) -> float | None:
        """Increase of a counter over all its series."""
        rows = self._counter(name, scopes)
        return None if rows is None else sum(_increase(old, new) for old, new in rows)

    def mean_rate(self, name: str, scopes: tuple[str, ...] = ()) -> float | None:
        """Increase in a second; None after a reset, because the time it covers is not known."""
        rows = self._counter(name, scopes)
        if rows is None or any(new < old for old, new in rows):
            return None
        return sum(new - old for old, new in rows) / self._seconds

    def gauge(self, name: str, scopes: tuple[str, ...] = ()) -> float | None:
        """Sum of a gauge's series at the end of the window."""
        rows = self._scoped(self._after, name, scopes)
        return sum(value for _, value in rows) if rows else None

    def mean_gauge(self, name: str) -> float | None:
        """Mean of a gauge's series at the end of the window."""
        rows = self._rows(self._after, name, shared=True)
        return sum(value for _, value in rows) / len(rows) if rows else None

    def histogram(
        self, name: str, keep: Callable[[Mapping[str, str]], bool] = lambda _: True
    ) -> Histogram | None:
        """Increase of a histogram, summed over the series that `keep` accepts; None without the metric."""
        old = _cumulative(row for row in self._rows(self._before, name + "_bucket") if keep(row[0]))
        new = _cumulative(row for row in self._rows(self._after, name + "_bucket") if keep(row[0]))
        if not old and not self._rows(self._before, name + "_bucket"):
            return None
        if not new:
            return None
        total: dict[float, float] = defaultdict(float)
        for series, counts in new.items():
            before = old.get(series, {})
            top = max(counts)
            reset = before.get(top, 0.0) > counts[top]
            for bound, count in counts.items():
                total[bound] += count - (0.0 if reset else before.get(bound, 0.0))
        bounds = np.array(sorted(total))
        cumulative = np.array([total[bound] for bound in bounds])
        # Scrapes of a live histogram may be a request apart between buckets: never below zero.
        return Histogram(bounds[:-1], np.maximum(np.diff(cumulative, prepend=0.0), 0.0))

    def _counter(self, name: str, scopes: tuple[str, ...]) -> list[tuple[float, float]] | None:
        """(before, after) of each series; a series that is new began at zero, unless the whole metric is
        new.
        """
        old, new = self._scoped(self._before, name, scopes), self._scoped(self._after, name, scopes)
        if not old or not new:
            return None
        before = {_key(labels): value for labels, value in old}
        return [(before.get(_key(labels), 0.0), value) for labels, value in new]

    def _scoped(self, snapshot: Snapshot, name: str, scopes: tuple[str, ...]) -> list[_Row]:
        """Rows of the narrowest scope there is: the model's container before its processes."""
        rows = self._rows(snapshot, name, shared=bool(scopes))
        for scope in scopes:
            found = [row for row in rows if row[0].get("scope", scope) == scope]
            if found:
                return found
        return [] if scopes else rows

    def _rows(self, snapshot: Snapshot, name: str, *, shared: bool = False) -> list[_Row]:
        """Rows of the model; `shared` ones may stand under the sidecar's default model instead."""
        rows = list(snapshot.samples.get(name, ()))
        if self._model is None:
            return rows
        own = [row for row in rows if row[0].get("model") == self._model]
        if own or not shared:
            return own
        return [row for row in rows if row[0].get("model") in {None, names.DEFAULT_MODEL}]


def _increase(old: float, new: float) -> float:
    return new - old if new >= old else new


def _key(labels: Mapping[str, str]) -> _Key:
    return tuple(sorted(labels.items()))


def _cumulative(rows: Iterable[_Row]) -> dict[_Key, dict[float, float]]:
    """Cumulative counts by bound, for each series."""
    found: dict[_Key, dict[float, float]] = defaultdict(dict)
    for labels, value in rows:
        rest = {name: text for name, text in labels.items() if name != "le"}
        found[_key(rest)][float(labels["le"])] = value
    return found
