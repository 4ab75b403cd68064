"""Production of every target: as a Prometheus remembers it where one does, else as the store does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import httpx
import numpy as np

from advisor.domain import Floats, Snapshot, Window
from advisor.observe.prometheus import MINUTE, PrometheusError, PrometheusReader
from advisor.settings import AdvisorSettings
from advisor.store import Store, Windows
from advisor.windows import between, together

RECENT = 300.0  # s in which the newest window is looked for
LATE = 180.0  # s; minutes younger than this may still change, and are asked for again
_LONGEST = 3.0  # steps; a longer time between two scrapes is a gap

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(slots=True)
class _Minutes:
    """Demand that was asked for before."""

    start: float
    end: float
    times: Floats
    rates: Floats


class History(Windows):
    """Windows of targets that the advisor observes are kept in the store; of those that `observe.prometheus`
    names, they are read where they are. A load test is no demand: its time is left out of both.

    While a Prometheus does not answer, what was not asked for before is not known.
    """

    def __init__(self, store: Store, settings: AdvisorSettings) -> None:
        super().__init__(store.database)
        self._runs = store.runs
        self._client = httpx.Client()
        self._lock = threading.Lock()
        self._minutes: dict[str, _Minutes] = {}
        self._silent: set[str] = set()
        self._readers = {
            target.name: PrometheusReader(str(asked.url), asked.selector, self._client)
            for target in settings.targets
            if (asked := target.observe.prometheus) is not None
        }

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def between(self, target: str, start: float, end: float) -> tuple[Window, ...]:
        """See `Windows.between`. Long times come in long windows, with the same sums."""
        reader = self._readers.get(target)
        if reader is None:
            return super().between(target, start, end)
        found = self._asked(target, lambda: reader.snapshots(start, end))
        if found is None:
            return ()
        loaded = self._runs.spans(target, start, end)
        return tuple(
            window
            for window in _windows(*found)
            if window.end > start
            and window.start < end
            and not any(window.end > first and window.start < last for first, last in loaded)
        )

    def newest(self, target: str, since: float = 0.0) -> Window | None:
        """See `Windows.newest`."""
        if target not in self._readers:
            return super().newest(target, since)
        now = self._db.now()
        return next(reversed(self.between(target, max(since, now - RECENT), now)), None)

    def demand(self, target: str, start: float, end: float) -> tuple[Floats, Floats]:
        """See `Windows.demand`. Only minutes that are new are asked for."""
        reader = self._readers.get(target)
        if reader is None:
            return super().demand(target, start, end)
        with self._lock:
            known = self._minutes.get(target)
        if known is None or start < known.start:
            known = _Minutes(start, start, np.zeros(0), np.zeros(0))
        if end > known.end - LATE:
            known = self._asked(target, partial(_renewed, known, reader, start, end)) or known
            with self._lock:
                kept = self._minutes.get(target)
                if kept is None or known.end >= kept.end:
                    self._minutes[target] = known
        keep = (known.times >= start) & (known.times < end)
        for first, last in self._runs.spans(target, start, end):
            keep &= (known.times + MINUTE <= first) | (known.times >= last + MINUTE)
        return known.times[keep], known.rates[keep]

    def _asked(self, target: str, question: Callable[[], T]) -> T | None:
        try:
            answer = question()
        except PrometheusError as error:
            if target not in self._silent:
                self._silent.add(target)
                _log.warning("production of %s is not known: %s", target, error)
            return None
        if target in self._silent:
            self._silent.discard(target)
            _log.info("production of %s is known again", target)
        return answer


def _renewed(known: _Minutes, reader: PrometheusReader, start: float, end: float) -> _Minutes:
    """With the minutes until `end`, and without those before `start`."""
    since = MINUTE * np.floor(max(known.end - LATE, known.start) / MINUTE)
    times, rates = reader.demand(since, end)
    kept = (known.times >= start) & (known.times < since)
    return _Minutes(
        start, end, np.concatenate([known.times[kept], times]), np.concatenate([known.rates[kept], rates])
    )


def _windows(step: float, readings: list[dict[str, Snapshot]]) -> Iterator[Window]:
    """Of all replicas together, between steps that show the same ones; gaps stay gaps."""
    last: dict[str, Snapshot] = {}
    for now in readings:
        if not now:
            continue
        same = last.keys() == now.keys()
        found = [between(last[instance], now[instance]) for instance in now] if same else []
        windows = [window for window in found if window is not None and window.seconds <= _LONGEST * step]
        if windows and len(windows) == len(now):
            whole = together(windows)
            if whole is not None:
                yield whole
        last = now
