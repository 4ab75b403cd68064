"""Read the sidecars' `/metrics`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import httpx

from advisor.domain import Snapshot, Window
from advisor.observe.exposition import PREFIX, parse

Clock: TypeAlias = Callable[[], float]
Between: TypeAlias = Callable[[Snapshot, Snapshot], Window | None]
Together: TypeAlias = Callable[[Sequence[Window]], Window | None]


def now() -> float:
    """Unix time in seconds."""
    return time.time()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """No reading, and why, in a sentence."""

    at: float
    reason: str
    source: str = ""


class ExporterReader:
    """One sidecar's metrics endpoint. The client is shared and closed by whoever made it."""

    def __init__(
        self, url: str, client: httpx.AsyncClient, *, timeout: float = 2.0, clock: Clock = now
    ) -> None:
        self.url = url
        self._client = client
        self._timeout = timeout
        self._clock = clock

    async def read(self) -> Snapshot | Unreadable:
        """The metrics now. Its time is the middle of the exchange: the sidecar computes its gauges then."""
        began = self._clock()
        try:
            answer = await self._client.get(self.url, timeout=self._timeout)
        except httpx.TimeoutException:
            return self._unreadable(f"no answer within {self._timeout:g} s")
        except httpx.HTTPError as error:
            return self._unreadable(str(error) or type(error).__name__)
        if answer.status_code != httpx.codes.OK:
            return self._unreadable(f"it answers with status {answer.status_code}")
        try:
            found = parse(answer.text, (began + self._clock()) / 2, self.url)
        except ValueError as error:
            return Unreadable(self._clock(), str(error), self.url)
        if not found.samples:
            return self._unreadable(f"it serves no metric whose name begins with {PREFIX}")
        return found

    def _unreadable(self, why: str) -> Unreadable:
        return Unreadable(self._clock(), f"{self.url} cannot be read: {why}", self.url)


class Recorder:
    """Windows of one target from the endpoints of its replicas, each time it is called.

    `between` and `together` are `advisor.windows.between` and `.together`: they live above this layer.
    """

    def __init__(self, readers: Sequence[ExporterReader], between: Between, together: Together) -> None:
        self._readers = readers
        self._between = between
        self._together = together
        self._last: dict[str, Snapshot] = {}
        self.problems: tuple[str, ...] = ()  # of the last call

    async def __call__(self) -> Window | None:
        """The window since the last call, summed over the replicas; None at the first, or with no reading."""
        readings = await asyncio.gather(*(reader.read() for reader in self._readers))
        self.problems = tuple(found.reason for found in readings if isinstance(found, Unreadable))
        windows: list[Window] = []
        for found in readings:
            if isinstance(found, Unreadable):
                continue
            before = self._last.get(found.source)
            self._last[found.source] = found
            window = self._between(before, found) if before else None
            if window is not None:
                windows.append(window)
        return self._together(windows)
