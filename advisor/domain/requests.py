"""Requests one by one, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from advisor.domain.arrays import Floats, Ints
from advisor.domain.histogram import Histogram


class Outcome(IntEnum):
    """How one request ended. The first six carry the names of the sidecar's `outcome` label."""

    OK = 0
    CLIENT_ERROR = 1  # a 4xx that was not expected
    SERVER_ERROR = 2  # a 5xx other than REJECTED
    REJECTED = 3  # 429 or 503: the server said that it has no room
    TIMEOUT = 4
    CANCELLED = 5
    CONNECTION = 6  # no answer: refused, reset, or closed before the first byte
    ACCEPTED = 7  # an answer below 400 to a request that should have been refused


def failures(outcomes: Mapping[str, int]) -> dict[str, int]:
    """Of counts by the outcome's name, those of what the target failed."""
    return {name: count for name, count in outcomes.items() if name not in {"ok", "cancelled"}}


@dataclass(frozen=True, slots=True)
class RequestLog:
    """One row a request, as arrays of equal length, sorted by `intended`.

    intended: when the plan wanted it sent; sent: when its turn came, before a connection was made where it
    needed one (after that, where a full listen queue held it up: the server knew nothing of it before); end:
    when its last byte arrived (all s); outcome: `Outcome` codes; kind: index of the request kind in the
    target's list.
    """

    intended: Floats
    sent: Floats
    end: Floats
    outcome: NDArray[np.int8]
    kind: NDArray[np.int16]

    def __len__(self) -> int:
        return int(self.intended.size)

    @property
    def latency(self) -> Floats:
        """End - intended (s): what a client of an open system sees, free of coordinated omission."""
        return self.end - self.intended

    @property
    def service(self) -> Floats:
        """End - sent (s): what a closed-loop tool would have reported."""
        return self.end - self.sent

    @property
    def ok(self) -> NDArray[np.bool_]:
        """True where the request ended as expected."""
        return np.equal(self.outcome, Outcome.OK)

    @property
    def cut(self) -> NDArray[np.bool_]:
        """True where the generator ended it: at an abort, or unanswered at the end of the drain."""
        return np.equal(self.outcome, Outcome.CANCELLED)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """True where the target failed it: neither as expected nor cut by the generator."""
        return ~(self.ok | self.cut)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many ended how, by the name of the outcome in small letters; those that did not occur are left
        out.
        """
        counted = np.bincount(self.outcome, minlength=len(Outcome))
        return {outcome.name.lower(): int(counted[outcome]) for outcome in Outcome if counted[outcome]}

    @property
    def error_ratio(self) -> float | None:
        """Share of failed requests among those that the generator did not cut; None without any."""
        whole = len(self) - int(np.count_nonzero(self.cut))
        return int(np.count_nonzero(self.failed)) / whole if whole else None

    def select(self, keep: NDArray[np.bool_] | Ints) -> RequestLog:
        """The rows of a mask or an index array."""
        return RequestLog(
            self.intended[keep], self.sent[keep], self.end[keep], self.outcome[keep], self.kind[keep]
        )

    @staticmethod
    def empty() -> RequestLog:
        """No rows."""
        nothing = np.zeros(0)
        return RequestLog(nothing, nothing, nothing, np.zeros(0, np.int8), np.zeros(0, np.int16))

    @staticmethod
    def concat(logs: Iterable[RequestLog]) -> RequestLog:
        """All rows of several logs, sorted by intended time."""
        parts = [log for log in logs if len(log)]
        if not parts:
            return RequestLog.empty()
        merged = RequestLog(
            np.concatenate([p.intended for p in parts]),
            np.concatenate([p.sent for p in parts]),
            np.concatenate([p.end for p in parts]),
            np.concatenate([p.outcome for p in parts]),
            np.concatenate([p.kind for p in parts]),
        )
        return merged.select(np.argsort(merged.intended, kind="stable").astype(np.int64))


@dataclass(frozen=True, slots=True)
class StreamLog:
    """One row a streamed answer that brought tokens (s): `first` and `last` are the times of its tokens.

    `gaps` counts the times between one token and the next, of all answers together.
    """

    intended: Floats
    sent: Floats
    first: Floats
    last: Floats
    tokens: Ints
    gaps: Histogram

    def __len__(self) -> int:
        return int(self.intended.size)

    @property
    def ttft(self) -> Floats:
        """Time to first token from the intended start (s)."""
        return self.first - self.intended

    @staticmethod
    def concat(logs: Iterable[StreamLog]) -> StreamLog | None:
        """All rows of several logs whose `gaps` have the same bounds; None without rows."""
        parts = [log for log in logs if len(log)]
        if not parts:
            return None
        return StreamLog(
            np.concatenate([p.intended for p in parts]),
            np.concatenate([p.sent for p in parts]),
            np.concatenate([p.first for p in parts]),
            np.concatenate([p.last for p in parts]),
            np.concatenate([p.tokens for p in parts]),
            Histogram(parts[0].gaps.bounds, np.sum([p.gaps.counts for p in parts], axis=0)),
        )
