"""The log as the inversion wants it: arrivals, departures, and how many requests were present between
events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from advisor.domain import Floats, Ints, Outcome, RequestLog

# the server did the work
ANSWERED = (Outcome.OK, Outcome.CLIENT_ERROR, Outcome.SERVER_ERROR, Outcome.ACCEPTED)

_DENSE = 10  # requests on each other's heels are no accident of Poisson arrivals
_VOLLEY = 15  # times the jitter: the longest group


@dataclass(frozen=True, slots=True)
class Timeline:
    """Requests that the server worked on, sorted by arrival, and the 2n events of their coming and going.

    arrival, departure: s; time: of the events, ascending; step: to the next event; present: in the server
    after the event; at_arrival, at_departure: index of request i's events; departures: indices of all
    departures, ascending; rejected: arrival times (s) of those turned away; rejected_at: how many were
    present then.
    """

    arrival: Floats
    departure: Floats
    time: Floats
    step: Floats
    present: Ints
    at_arrival: Ints
    at_departure: Ints
    departures: Ints
    rejected: Floats
    rejected_at: Ints

    def __len__(self) -> int:
        return int(self.arrival.size)

    @property
    def latency(self) -> Floats:
        """Departure - arrival (s)."""
        return self.departure - self.arrival

    @property
    def most_present(self) -> int:
        """Highest number in the server at once."""
        return int(self.present.max()) if self.present.size else 0

    def delayed(self, seconds: float) -> Timeline:
        """The timeline of the server alone, when `seconds` of every latency are spent outside of it."""
        if seconds == 0:
            return self
        return build(self.arrival, self.departure - seconds, self.rejected)

    def slowed(self, path: Floats, block: float) -> Timeline:
        """The same events on the server's own clock, which loses while the machine is slow.

        `path`: the slowdown in each block of `block` s since time 0; beyond its end the clock is right.
        """
        at = ((self.time + 0.5 * self.step) / block).astype(np.int64)
        known = (at >= 0) & (at < path.size)
        factor = np.where(known, path[np.clip(at, 0, path.size - 1)], 1.0)
        return replace(self, step=self.step / factor)

    def select(self, keep: Ints) -> Timeline:
        """Some of the requests, as if there had been no other."""
        return build(self.arrival[keep], self.departure[keep], np.zeros(0))


def build(arrival: Floats, departure: Floats, rejected: Floats) -> Timeline:
    """A timeline of completed requests (any order) and the arrival times of rejected ones.

    A departure at the same time as an arrival comes first: its slot is free.
    """
    order = np.argsort(arrival, kind="stable")
    arrival = np.ascontiguousarray(arrival[order])
    departure = np.maximum(departure[order], arrival + 1e-7)
    n = arrival.size
    times = np.concatenate([departure, arrival])
    sequence = np.argsort(times, kind="stable")
    position = np.empty(2 * n, np.int64)
    position[sequence] = np.arange(2 * n)
    time = times[sequence]
    present = np.cumsum(np.where(sequence < n, -1, 1)).astype(np.int64)
    rejected = np.sort(rejected)
    seen = np.searchsorted(time, rejected, side="right") - 1
    return Timeline(
        arrival=arrival,
        departure=departure,
        time=time,
        step=np.append(np.diff(time), 0.0),
        present=present,
        at_arrival=position[n:],
        at_departure=position[:n],
        departures=np.sort(position[:n]),
        rejected=rejected,
        rejected_at=np.where(seen >= 0, present[np.maximum(seen, 0)], 0).astype(np.int64)
        if n
        else np.zeros(rejected.size, np.int64),
    )


def from_log(log: RequestLog) -> Timeline:
    """The server's side of a request log: arrival = sent, departure = last byte.

    Answers with an error status were work too. Timeouts, cancelled requests and failed connections are
    left out: nobody saw when the server was done with them, and only a server's own refusal is a rejection.
    """
    answered = np.isin(log.outcome, ANSWERED)
    answered &= np.isfinite(log.sent) & np.isfinite(log.end)
    rejected = log.outcome == Outcome.REJECTED
    arrival, departure = log.sent[answered], log.end[answered]
    order = np.argsort(arrival, kind="stable")
    arrival, departure = arrival[order], departure[order]
    return build(arrival, _repaired(arrival, departure), log.sent[rejected])


def _repaired(arrival: Floats, departure: Floats) -> Floats:
    """Departures sorted inside groups of requests that were sent within the network's jitter of each other.

    Who of them reached the server first is not known, and a wrong guess gives one request the time of two.
    Sent together, they are interchangeable: the earlier arrival takes the earlier departure. A volley, whose
    connections open in any order, is one group however long its sending took.
    """
    if arrival.size < 2:
        return departure
    jitter = float(np.clip(0.05 * np.median(departure - arrival), 1e-4, 2e-3))
    group = np.zeros(arrival.size, np.int64)
    first = 0
    for i in range(1, arrival.size):
        taken = arrival[i] - arrival[first]
        dense = i - first >= _DENSE and arrival[i] - arrival[i - 1] <= jitter / 2
        if taken > jitter and not (dense and taken <= _VOLLEY * jitter):
            first = i
        group[i] = first
    return departure[np.lexsort((departure, group))]


def thinned(timeline: Timeline, most: int, chunk: int = 300, longest: int = 6000) -> Timeline:
    """About `most` requests in whole busy periods, the busiest one always among them.

    Cut where the server is empty, so that nothing outside a part reaches into it; a busy period longer than
    `longest` requests is cut at its end, where the present ones are lost.
    """
    if len(timeline) <= most:
        return timeline
    empty = np.flatnonzero(timeline.present == 0)
    after = np.searchsorted(timeline.arrival, timeline.time[empty], side="right")
    cuts = [0]
    for index in after:
        if index - cuts[-1] >= chunk:
            cuts.append(int(index))
    if cuts[-1] < len(timeline):
        cuts.append(len(timeline))
    parts = list(pairwise(cuts))
    crowd = [int(timeline.present[timeline.at_arrival[low:high]].max()) for low, high in parts]
    every = int(np.ceil(len(timeline) / most))
    picked = sorted({*range(0, len(parts), every), int(np.argmax(crowd))})
    keep = np.concatenate([np.arange(parts[i][0], min(parts[i][1], parts[i][0] + longest)) for i in picked])
    return timeline.select(keep.astype(np.int64))
